// The C interface by which torch's AOTIModelContainerRunner opens and runs a library.
//
// Included by library.h and lean.h, which define before it: Model, make_graph, last_error.

#ifndef TEZZERET_INTERFACE_H
#define TEZZERET_INTERFACE_H

#define TEZZERET_API extern "C" __attribute__((visibility("default")))

namespace {

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

#endif // TEZZERET_INTERFACE_H
