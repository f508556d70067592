// Enough of c10::complex to declare functions with it.
#pragma once
namespace c10 {
template <typename T>
struct complex;
}
