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

#include "dispatched.h"

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

namespace {
thread_local std::string last_error;
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

#include "interface.h"

#endif // TEZZERET_LIBRARY_H
