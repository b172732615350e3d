/// Goes in front of mlx-c's headers, whose half.h knows these types on Arm only. Only pointers to them cross
/// the interface.
#pragma once
#include <stdint.h>
#define MLX_HALF_H
#define HAS_FLOAT16
#define HAS_BFLOAT16
typedef uint16_t float16_t;
typedef uint16_t bfloat16_t;
