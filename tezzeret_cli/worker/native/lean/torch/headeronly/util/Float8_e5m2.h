// Enough of c10::Float8_e5m2 to declare functions with it.
#pragma once
namespace c10 {
struct Float8_e5m2;
}
