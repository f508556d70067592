// Calls through torch's dispatcher, for operations that its C interface has no function for.
//
// AOTInductor leaves these to a "proxy executor", which reads what to call from a JSON file beside the library.
// Here the call is in the library itself: worker/dispatched.py writes it, and nothing is read when it is opened.
//
// A Call is a stack of torch's StableIValues, written as torch/csrc/stable/stableivalue_conversions.h writes
// them. Each member puts a value on it, or turns the last ones into one.

#ifndef TEZZERET_DISPATCHED_H
#define TEZZERET_DISPATCHED_H

#include <cstring>

#include <torch/csrc/stable/c/shim.h>

namespace tezzeret {

// The release whose form of these values is meant; all that came later still read it.
constexpr uint64_t BUILT_FOR = TORCH_VERSION_2_10_0;

// Depth is the most values that are on the stack at a time.
template <size_t Depth>
class Call {
 public:
  // What is known only when the graph runs: integers and tensors in the order in which they are put, and then
  // the tensors that the results are for.
  Call(const int64_t* integers, const AtenTensorHandle* tensors)
      : integers_(integers), tensors_(tensors) {}
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  Call& tensor() {
    AtenTensorHandle owned = nullptr;
    keep(aoti_torch_new_tensor_handle(*tensors_++, &owned));
    return put(owned);
  }

  Call& integer() {
    return put(*integers_++);
  }

  template <typename T>
  Call& put(T value) {
    static_assert(sizeof(T) <= sizeof(StableIValue));
    StableIValue& place = stack_[height_++];
    place = 0;
    std::memcpy(&place, &value, sizeof(value));
    return *this;
  }

  Call& device(int32_t type, int32_t index) {
    return put(uint64_t(uint32_t(type)) << 32 | uint32_t(index));
  }

  // For an argument that may be left out: that it is.
  Call& none() {
    return put(nullptr);
  }

  // That it is not: the last value. The dispatcher deletes it.
  Call& some() {
    StableIValue* value = new StableIValue(stack_[--height_]);
    return put(value);
  }

  // A list of the last values. The dispatcher deletes it.
  Call& list(size_t size) {
    StableListHandle made = nullptr;
    keep(torch_new_list_reserve_size(size, &made));
    height_ -= size;
    for (size_t i = 0; code_ == AOTI_TORCH_SUCCESS && i < size; i++) {
      keep(torch_list_push_back(made, stack_[height_ + i]));
    }
    return put(made);
  }

  // Call the operation; its results take the place of the arguments.
  Call& call(const char* name, const char* overload) {
    if (code_ == AOTI_TORCH_SUCCESS) {
      keep(torch_call_dispatcher(name, overload, stack_, BUILT_FOR));
    }
    height_ = 0;
    return *this;
  }

  // The next result goes to the next tensor.
  Call& result() {
    AtenTensorHandle made = next();
    if (made != nullptr) {
      keep(aoti_torch_assign_tensors(made, *tensors_++));
      keep(aoti_torch_delete_tensor_object(made));
    }
    return *this;
  }

  // Nothing uses the next result.
  Call& unused() {
    AtenTensorHandle made = next();
    if (made != nullptr) {
      keep(aoti_torch_delete_tensor_object(made));
    }
    return *this;
  }

  // How it went.
  operator AOTITorchError() const {
    return code_;
  }

 private:
  AtenTensorHandle next() {
    AtenTensorHandle made = nullptr;
    if (code_ == AOTI_TORCH_SUCCESS) {
      std::memcpy(&made, &stack_[height_++], sizeof(made));
    }
    return made;
  }

  void keep(AOTITorchError code) {
    if (code_ == AOTI_TORCH_SUCCESS) {
      code_ = code;
    }
  }

  const int64_t* integers_;
  const AtenTensorHandle* tensors_;
  StableIValue stack_[Depth];
  size_t height_ = 0;
  AOTITorchError code_ = AOTI_TORCH_SUCCESS;
};

} // namespace tezzeret

#endif // TEZZERET_DISPATCHED_H
