// Enough of c10::Half to declare functions with it.
#pragma once
namespace c10 {
struct Half;
}
