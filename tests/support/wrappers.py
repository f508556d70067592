"""Wrappers of graphs as inductor writes them, without AOTInductor's container."""

from __future__ import annotations

_WRAPPER = """extern "C"  void  {kernel}(float* in_ptr0,
                       float value);
namespace torch::aot_inductor {{
namespace {{
class AOTInductorModelKernels : public AOTInductorModelKernelsBase {{
  public:
    void* {kernel}{{nullptr}};
}};
}}  // namespace


extern "C" {{
    extern const unsigned char __cpp_fused_relu_0_start[];
}}

AOTInductorModel::AOTInductorModel(std::shared_ptr<ConstantMap> constants_map,
                                   std::shared_ptr<std::vector<ConstantHandle>> constants_array,
                                   const std::string& device_str,
                                   std::optional<std::string> cubin_dir)
    : AOTInductorModelBase({inputs},
                           {outputs},
                           0,
                           device_str,
                           std::move(cubin_dir),
                           true) {{
    inputs_info_[0].name = "primals_2";
    update_constants_map(std::move(constants_map));
    update_constants_array(std::move(constants_array));
    in_spec_ = R"()";
    out_spec_ = R"()";
    outputs_info_[0].name = "output0";
    this->kernels_ = std::make_unique<AOTInductorModelKernels>();
}}

std::unordered_map<std::string, AtenTensorHandle> AOTInductorModel::const_run_impl(
    DeviceStreamType stream,
    AOTIProxyExecutorHandle proxy_executor,
    bool initialization
) {{

    if (!initialization) {{
        std::cerr << "[WARNING] Calling constant_folding in model, but compiled with config: "
                  << "aot_inductor.use_runtime_constant_folding=False\\n";
    }}
    return {{}};
}}
}} // namespace torch::aot_inductor
using namespace torch::aot_inductor;
namespace torch::aot_inductor {{

void AOTInductorModel::_const_run_impl(
    std::vector<AtenTensorHandle>& output_handles,
    DeviceStreamType stream,
    AOTIProxyExecutorHandle proxy_executor
) {{}}


static bool _check_aoti_runtime_check_inputs_env() {{
    const static char* env_var_value = getenv("AOTI_RUNTIME_CHECK_INPUTS");
    const static bool result = env_var_value != nullptr && env_var_value[0] != '0';
    return result;
}}

AOTI_NOINLINE static void __check_inputs_outputs(
    AtenTensorHandle* input_handles,
    AtenTensorHandle* output_handles) {{
    if (!_check_aoti_runtime_check_inputs_env()){{
        return;
    }}
}}

void AOTInductorModel::run_impl(
    AtenTensorHandle*
        input_handles, // array of input AtenTensorHandle; handles
                        // are stolen; the array itself is borrowed
    AtenTensorHandle*
        output_handles, // array for writing output AtenTensorHandle; handles
                        // will be stolen by the caller; the array itself is
                        // borrowed
    DeviceStreamType stream,
    AOTIProxyExecutorHandle proxy_executor
) {{
    __check_inputs_outputs(input_handles, output_handles);
    auto inputs = steal_from_raw_handles_to_raii_handles(input_handles, {inputs});
    [[maybe_unused]] auto& kernels = static_cast<AOTInductorModelKernels&>(*this->kernels_.get());
{body}}} // AOTInductorModel::run_impl
}} // namespace torch::aot_inductor
"""


def graph(inputs: int, outputs: int, kernel: str, body: str) -> str:
    """A wrapper whose ``run_impl`` has ``body``: its arguments are ``inputs``."""
    return _WRAPPER.format(inputs=inputs, outputs=outputs, kernel=kernel, body=body)
