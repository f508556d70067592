// Enough of c10::BFloat16 to declare functions with it.
#pragma once
namespace c10 {
struct BFloat16;
}
