// What every library of a bundle has in common: the C interface by which torch's
// AOTIModelContainerRunner opens and runs it, and the class that inductor's generated code fills in.
//
// AOTInductor's own container manages constants and pools of models, and checks arguments. A bundle's
// libraries take every tensor as an argument, and the guards have checked it, so none of that is needed.
// Without it a library compiles in a fraction of the time and is a tenth of the size.
//
// With USE_CUDA defined, a library is for one CUDA device, as what its maker is given says ("cuda:1").
//
// The interface: torch/csrc/inductor/aoti_runtime/interface.h. The class:
// torch/csrc/inductor/aoti_runtime/model.h, whose member names the generated code relies on.

#ifndef TEZZERET_LIBRARY_H
#define TEZZERET_LIBRARY_H

#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <memory>
#include <mutex>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <vector>

#include <c10/util/generic_math.h>
#include <torch/csrc/inductor/aoti_runtime/scalar_to_tensor.h>
#include <torch/csrc/inductor/aoti_runtime/utils.h>
#include <torch/csrc/inductor/aoti_torch/generated/c_shim_cpu.h>
#ifdef USE_CUDA
#include <torch/csrc/inductor/aoti_runtime/utils_cuda.h>
#include <torch/csrc/inductor/aoti_torch/generated/c_shim_cuda.h>
#endif

[[maybe_unused]] inline int64_t align(int64_t bytes) {
  return (bytes + 63) & -64;
}

namespace torch::aot_inductor {

#ifdef USE_CUDA
using DeviceStreamType = cudaStream_t;
#else
using DeviceStreamType = void*;
#endif
struct ConstantMap; // none is ever made

class AOTInductorModelKernelsBase {
 public:
  virtual ~AOTInductorModelKernelsBase() = default;
};

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
    return inputs_info_.size();
  }
  size_t num_outputs() const {
    return outputs_info_.size();
  }

 protected:
  struct Info {
    const char* name = nullptr;
  };

  AOTInductorModelBase(
      size_t inputs,
      size_t outputs,
      size_t constants,
      const std::string& device,
      std::optional<std::string> /*cubin_dir*/,
      bool /*include_weights*/ = true)
      : inputs_info_(inputs), outputs_info_(outputs), device_idx_(index_of(device)) {
    if (constants != 0) {
      throw std::runtime_error("this library has no constants");
    }
  }

  void update_constants_map(std::shared_ptr<ConstantMap>) {}
  void update_constants_array(std::shared_ptr<std::vector<ConstantHandle>>) {}

  std::vector<Info> inputs_info_;
  std::vector<Info> outputs_info_;
  std::string in_spec_;
  std::string out_spec_;
  int32_t device_idx_;
  std::optional<std::string> cubin_dir_; // none: kernels are in the library
  std::unique_ptr<AOTInductorModelKernelsBase> kernels_;

 private:
#ifdef USE_CUDA
  static int32_t index_of(const std::string& device) {
    if (device.rfind("cuda:", 0) != 0) {
      throw std::runtime_error("this library is for a CUDA device with a number, not for " + device);
    }
    return std::stoi(device.substr(5));
  }
#else
  static int32_t index_of(const std::string& device) {
    if (device != "cpu") {
      throw std::runtime_error("this library is for the CPU, not for " + device);
    }
    return -1;
  }
#endif
};

} // namespace torch::aot_inductor

#define TEZZERET_API extern "C" __attribute__((visibility("default")))

namespace {

thread_local std::string last_error;

AOTIRuntimeError failed(const char* message) {
  last_error = message;
  std::fprintf(stderr, "Error: %s\n", message);
  return AOTI_RUNTIME_FAILURE;
}

template <typename Body>
AOTIRuntimeError caught(const Body& body) {
  try {
    body();
    return AOTI_RUNTIME_SUCCESS;
  } catch (const std::exception& error) {
    return failed(error.what());
  } catch (...) {
    return failed("unknown exception");
  }
}

// Kernels write into tensors that require gradients, which autograd would refuse.
class NoGrad {
 public:
  NoGrad() : before_(aoti_torch_grad_mode_is_enabled()) {
    aoti_torch_grad_mode_set_enabled(false);
  }
  ~NoGrad() {
    aoti_torch_grad_mode_set_enabled(before_);
  }
  NoGrad(const NoGrad&) = delete;
  NoGrad& operator=(const NoGrad&) = delete;

 private:
  bool before_;
};

} // namespace

using Model = torch::aot_inductor::AOTInductorModelBase;

// Declares the class of one graph, which inductor's code defines.
#define TEZZERET_GRAPH(Name)                                               \
  namespace torch::aot_inductor {                                          \
  class Name : public AOTInductorModelBase {                               \
   public:                                                                 \
    Name(                                                                  \
        std::shared_ptr<ConstantMap> constants_map,                        \
        std::shared_ptr<std::vector<ConstantHandle>> constants_array,      \
        const std::string& device,                                         \
        std::optional<std::string> cubin_dir);                             \
    void run_impl(                                                         \
        AtenTensorHandle* inputs,                                          \
        AtenTensorHandle* outputs,                                         \
        DeviceStreamType stream,                                           \
        AOTIProxyExecutorHandle proxy_executor) override;                  \
    std::unordered_map<std::string, AtenTensorHandle> const_run_impl(      \
        DeviceStreamType stream,                                           \
        AOTIProxyExecutorHandle proxy_executor,                            \
        bool initialization = false);                                      \
    void _const_run_impl(                                                  \
        std::vector<AtenTensorHandle>& outputs,                            \
        DeviceStreamType stream,                                           \
        AOTIProxyExecutorHandle proxy_executor);                           \
  };                                                                       \
  }

// The graphs of a library, which count from 1.
#define TEZZERET_LIBRARY(...)                                              \
  Model* make_graph(size_t number, const std::string& device) {            \
    return made_of<__VA_ARGS__>(number, device);                           \
  }

Model* make_graph(size_t number, const std::string& device);

template <typename... Graphs>
Model* made_of(size_t number, const std::string& device) {
  Model* made = nullptr;
  size_t at = 0;
  ((++at == number ? void(made = new Graphs(nullptr, nullptr, device, std::nullopt)) : void()), ...);
  if (made == nullptr) {
    throw std::runtime_error("this library has no graph of that number");
  }
  return made;
}

// A runner says how many instances of a model it wants; here that is the number of the graph.
TEZZERET_API AOTIRuntimeError AOTInductorModelContainerCreateWithDevice(
    Model** model,
    size_t number,
    const char* device,
    const char* /*cubin_dir*/) {
  return caught([&] { *model = make_graph(number, device); });
}

TEZZERET_API AOTIRuntimeError AOTInductorModelContainerDelete(Model* model) {
  delete model;
  return AOTI_RUNTIME_SUCCESS;
}

#ifdef USE_CUDA
// The first run loads the kernels onto the device, and remembers that in the model.
inline std::mutex running;
#endif

// On the CPU, running keeps no state in the model, so that any number of threads may at once. On a GPU it is
// putting kernels into a stream, one thread after the other.
TEZZERET_API AOTIRuntimeError AOTInductorModelContainerRun(
    Model* model,
    AtenTensorHandle* inputs,
    size_t num_inputs,
    AtenTensorHandle* outputs,
    size_t num_outputs,
    void* stream,
    AOTIProxyExecutorHandle proxy_executor) {
  if (num_inputs != model->num_inputs() || num_outputs != model->num_outputs()) {
    return failed("wrong number of inputs or outputs");
  }
  return caught([&] {
    NoGrad guard;
#ifdef USE_CUDA
    std::lock_guard<std::mutex> lock(running);
#endif
    model->run_impl(
        inputs, outputs, static_cast<torch::aot_inductor::DeviceStreamType>(stream), proxy_executor);
  });
}

TEZZERET_API AOTIRuntimeError AOTInductorModelContainerRunSingleThreaded(
    Model* model,
    AtenTensorHandle* inputs,
    size_t num_inputs,
    AtenTensorHandle* outputs,
    size_t num_outputs,
    void* stream,
    AOTIProxyExecutorHandle proxy_executor) {
  return AOTInductorModelContainerRun(
      model, inputs, num_inputs, outputs, num_outputs, stream, proxy_executor);
}

TEZZERET_API AOTIRuntimeError AOTInductorModelContainerGetNumInputs(Model* model, size_t* number) {
  *number = model->num_inputs();
  return AOTI_RUNTIME_SUCCESS;
}

TEZZERET_API AOTIRuntimeError AOTInductorModelContainerGetNumOutputs(Model* model, size_t* number) {
  *number = model->num_outputs();
  return AOTI_RUNTIME_SUCCESS;
}

TEZZERET_API AOTIRuntimeError AOTInductorModelContainerGetNumConstants(Model*, size_t* number) {
  *number = 0;
  return AOTI_RUNTIME_SUCCESS;
}

TEZZERET_API AOTIRuntimeError AOTInductorModelContainerGetConstantsBlobSize(Model*, uint64_t* bytes) {
  *bytes = 0;
  return AOTI_RUNTIME_SUCCESS;
}

TEZZERET_API AOTIRuntimeError
AOTInductorModelContainerGetCallSpec(Model*, const char** inputs, const char** outputs) {
  *inputs = *outputs = "";
  return AOTI_RUNTIME_SUCCESS;
}

TEZZERET_API AOTIRuntimeError AOTInductorGetLastError(const char** message) {
  *message = last_error.c_str();
  return AOTI_RUNTIME_SUCCESS;
}

// The runner looks these up when it opens a library; there is nothing for them to act on.
#define TEZZERET_NO_CONSTANTS(name)                \
  TEZZERET_API AOTIRuntimeError name() {           \
    return failed("this library has no constants"); \
  }

TEZZERET_NO_CONSTANTS(AOTInductorModelContainerGetConstantName)
TEZZERET_NO_CONSTANTS(AOTInductorModelContainerGetConstantOriginalFQN)
TEZZERET_NO_CONSTANTS(AOTInductorModelContainerGetConstantFromFolded)
TEZZERET_NO_CONSTANTS(AOTInductorModelContainerGetConstantType)
TEZZERET_NO_CONSTANTS(AOTInductorModelContainerGetConstantDtype)
TEZZERET_NO_CONSTANTS(AOTInductorModelContainerGetConstantDataSize)
TEZZERET_NO_CONSTANTS(AOTInductorModelContainerExtractConstantsMap)
TEZZERET_NO_CONSTANTS(AOTInductorModelContainerUpdateUserManagedConstantBuffer)
TEZZERET_NO_CONSTANTS(AOTInductorModelContainerUpdateConstantBuffer)
TEZZERET_NO_CONSTANTS(AOTInductorModelContainerUpdateConstantBufferFromCpu)
TEZZERET_NO_CONSTANTS(AOTInductorModelContainerUpdateInactiveConstantBuffer)
TEZZERET_NO_CONSTANTS(AOTInductorModelContainerFreeInactiveConstantBuffer)
TEZZERET_NO_CONSTANTS(AOTInductorModelContainerRunConstantFolding)
TEZZERET_NO_CONSTANTS(AOTInductorModelContainerSwapConstantBuffer)
TEZZERET_NO_CONSTANTS(AOTInductorModelUpdateConstantsFromBlob)

#endif // TEZZERET_LIBRARY_H
