// Enough of c10::Float8_e4m3fnuz to declare functions with it.
#pragma once
namespace c10 {
struct Float8_e4m3fnuz;
}
