// What library.h is, for a wrapper that worker/lean.py has rewritten: a graph on the CPU, whose class has
// nothing but run_impl.
//
// Without the C++ library's strings, streams and containers, and without torch's own header of helpers, which
// need them, it is read in a few hundredths of a second. The helpers that generated code calls are here under
// the names that torch/csrc/inductor/aoti_runtime/utils.h gives them; code that needs another one does not
// compile with this header, and is compiled with library.h.
//
// torch's C interface itself (shim.h) includes the number formats that a few of its functions take; the folder
// lean/ holds declarations in their place.

#ifndef TEZZERET_LEAN_H
#define TEZZERET_LEAN_H

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <utility>

#include <torch/csrc/inductor/aoti_torch/generated/c_shim_cpu.h>

#include "dispatched.h"

using AOTIRuntimeError = int32_t;
#define AOTI_RUNTIME_SUCCESS 0
#define AOTI_RUNTIME_FAILURE 1

namespace torch::aot_inductor {

class Failure : public std::exception {
 public:
  explicit Failure(const char* message) : message_(message) {}
  const char* what() const noexcept override {
    return message_;
  }

 private:
  const char* message_; // a literal
};

inline void check(AOTITorchError code, const char* message) {
  if (code != AOTI_TORCH_SUCCESS) {
    throw Failure(message);
  }
}

#define AOTI_TORCH_ERROR_CODE_CHECK(call) torch::aot_inductor::check(call, #call " API call failed")

// Owns a tensor.
class RAIIAtenTensorHandle {
 public:
  RAIIAtenTensorHandle() = default;
  RAIIAtenTensorHandle(AtenTensorHandle handle) : handle_(handle) {}
  RAIIAtenTensorHandle(RAIIAtenTensorHandle&& other) noexcept : handle_(other.release()) {}
  RAIIAtenTensorHandle& operator=(RAIIAtenTensorHandle&& other) noexcept {
    AtenTensorHandle handle = other.release();
    reset();
    handle_ = handle;
    return *this;
  }
  ~RAIIAtenTensorHandle() {
    reset();
  }

  operator AtenTensorHandle() const {
    return handle_;
  }
  AtenTensorHandle get() const {
    return handle_;
  }
  AtenTensorHandle release() {
    AtenTensorHandle handle = handle_;
    handle_ = nullptr;
    return handle;
  }
  void reset() {
    if (handle_ != nullptr) {
      AOTI_TORCH_ERROR_CODE_CHECK(aoti_torch_delete_tensor_object(release()));
    }
  }

  int64_t size(int64_t d) const {
    int64_t size = 0;
    AOTI_TORCH_ERROR_CODE_CHECK(aoti_torch_get_size(handle_, d, &size));
    return size;
  }
  int64_t stride(int64_t d) const {
    int64_t stride = 0;
    AOTI_TORCH_ERROR_CODE_CHECK(aoti_torch_get_stride(handle_, d, &stride));
    return stride;
  }
  int64_t* sizes() const {
    int64_t* sizes = nullptr;
    AOTI_TORCH_ERROR_CODE_CHECK(aoti_torch_get_sizes(handle_, &sizes));
    return sizes;
  }
  int64_t* strides() const {
    int64_t* strides = nullptr;
    AOTI_TORCH_ERROR_CODE_CHECK(aoti_torch_get_strides(handle_, &strides));
    return strides;
  }
  int64_t storage_offset() const {
    int64_t offset = 0;
    AOTI_TORCH_ERROR_CODE_CHECK(aoti_torch_get_storage_offset(handle_, &offset));
    return offset;
  }
  void* data_ptr() const {
    void* data = nullptr;
    AOTI_TORCH_ERROR_CODE_CHECK(aoti_torch_get_data_ptr(handle_, &data));
    return data;
  }

 private:
  AtenTensorHandle handle_ = nullptr;
};

// The arguments of a call, owned.
class Arguments {
 public:
  Arguments(AtenTensorHandle* handles, size_t size) : owned_(new RAIIAtenTensorHandle[size]) {
    for (size_t i = 0; i < size; i++) {
      owned_[i] = RAIIAtenTensorHandle(handles[i]);
      handles[i] = nullptr;
    }
  }
  Arguments(const Arguments&) = delete;
  Arguments& operator=(const Arguments&) = delete;
  ~Arguments() {
    clear();
  }
  RAIIAtenTensorHandle& operator[](size_t place) {
    return owned_[place];
  }
  void clear() {
    delete[] owned_;
    owned_ = nullptr;
  }

 private:
  RAIIAtenTensorHandle* owned_;
};

inline Arguments steal_from_raw_handles_to_raii_handles(AtenTensorHandle* handles, size_t size) {
  return Arguments(handles, size);
}

inline AtenTensorHandle reinterpret_tensor_wrapper(
    AtenTensorHandle self,
    int64_t ndim,
    const int64_t* sizes,
    const int64_t* strides,
    int64_t storage_offset) {
  AtenTensorHandle view = nullptr;
  AOTI_TORCH_ERROR_CODE_CHECK(
      aoti_torch__reinterpret_tensor(self, ndim, sizes, strides, storage_offset, &view));
  return view;
}

inline RAIIAtenTensorHandle wrap_with_raii_handle_if_needed(AtenTensorHandle handle) {
  return RAIIAtenTensorHandle(handle);
}

template <class T>
T& temporary_reference(T&& value) {
  return value;
}

#define CACHE_TORCH_DTYPE(name) static auto cached_torch_dtype_##name = aoti_torch_dtype_##name()
#define CACHE_TORCH_DEVICE(name) static auto cached_torch_device_type_##name = aoti_torch_device_type_##name()
#define CACHE_TORCH_LAYOUT(name) static auto cached_torch_layout_##name = aoti_torch_layout_##name()
#define CACHE_TORCH_MEMORY_FORMAT(name) \
  static auto cached_torch_memory_format_##name = aoti_torch_memory_format_##name()

using DeviceStreamType = void*;

class AOTInductorModelBase {
 public:
  virtual ~AOTInductorModelBase() = default;

  // The handles of inputs are stolen, those of outputs are for the caller to steal.
  virtual void run_impl(
      AtenTensorHandle* inputs,
      AtenTensorHandle* outputs,
      DeviceStreamType stream,
      AOTIProxyExecutorHandle proxy_executor) = 0;

  size_t num_inputs() const {
    return inputs_;
  }
  size_t num_outputs() const {
    return outputs_;
  }

 protected:
  AOTInductorModelBase(size_t inputs, size_t outputs) : inputs_(inputs), outputs_(outputs) {}

  static constexpr int32_t device_idx_ = -1;

 private:
  size_t inputs_;
  size_t outputs_;
};

} // namespace torch::aot_inductor

namespace {

// Keeps a message, or what of it there is room for.
class Message {
 public:
  void operator=(const char* text) {
    std::strncpy(text_, text, sizeof(text_) - 1);
  }
  const char* c_str() const {
    return text_;
  }

 private:
  char text_[1024] = "";
};
thread_local Message last_error;

} // namespace

using Model = torch::aot_inductor::AOTInductorModelBase;

// The class of one graph.
#define TEZZERET_LEAN_GRAPH(Name, Inputs, Outputs)              \
  namespace torch::aot_inductor {                               \
  class Name : public AOTInductorModelBase {                    \
   public:                                                      \
    Name() : AOTInductorModelBase(Inputs, Outputs) {}           \
    void run_impl(                                              \
        AtenTensorHandle* inputs,                               \
        AtenTensorHandle* outputs,                              \
        DeviceStreamType stream,                                \
        AOTIProxyExecutorHandle proxy_executor) override;       \
  };                                                            \
  }

// The graphs of a library, which count from 1.
#define TEZZERET_LIBRARY(...)                               \
  Model* make_graph(size_t number, const char* device) {    \
    return made_of<__VA_ARGS__>(number, device);            \
  }

Model* make_graph(size_t number, const char* device);

template <typename... Graphs>
Model* made_of(size_t number, const char* device) {
  if (std::strcmp(device, "cpu") != 0) {
    throw torch::aot_inductor::Failure("this library is for the CPU");
  }
  Model* made = nullptr;
  size_t at = 0;
  ((++at == number ? void(made = new Graphs()) : void()), ...);
  if (made == nullptr) {
    throw torch::aot_inductor::Failure("this library has no graph of that number");
  }
  return made;
}

#include "interface.h"

#endif // TEZZERET_LEAN_H
