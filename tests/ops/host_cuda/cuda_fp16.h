// Half precision for the emulation: storage, and the two conversions that the kernels use, rounding to nearest even.
#pragma once
#include <cstdint>
#include <cstring>

struct __half {
    uint16_t bits;
};
typedef __half half;

inline uint32_t bits_of(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, 4);
    return bits;
}

inline float float_of(uint32_t bits) {
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
}

inline float __half2float(half h) {
    const uint32_t sign = (h.bits & 0x8000u) << 16, exponent = h.bits >> 10 & 31u, mantissa = h.bits & 1023u;
    if (exponent == 31) return float_of(sign | 0x7f800000u | mantissa << 13);
    if (exponent) return float_of(sign | (exponent + 112) << 23 | mantissa << 13);
    const float small = mantissa * 5.9604644775390625e-8f;  // 2^-24
    return sign ? -small : small;
}

inline half __float2half_rn(float value) {
    const uint16_t sign = bits_of(value) >> 16 & 0x8000u;
    uint32_t bits = bits_of(value) & 0x7fffffffu;
    if (bits > 0x7f800000u) return {uint16_t(sign | 0x7e00u)};
    if (bits >= 0x477ff000u) return {uint16_t(sign | 0x7c00u)};  // from 65520 on it rounds to infinity
    // Below the normal range the last place of half is that of 0.5 in float.
    if (bits < 0x38800000u) return {uint16_t(sign | (bits_of(float_of(bits) + 0.5f) - 0x3f000000u))};
    bits += 0xfffu + (bits >> 13 & 1u);
    return {uint16_t(sign | (bits - 0x38000000u) >> 13)};
}
