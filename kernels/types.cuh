#pragma once
// Names that all sources use.

typedef long long i64;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef unsigned char u8;

constexpr int WARP = 32;
constexpr int BLOCK = 256;  // threads of a block, in most kernels
constexpr u32 ALL = 0xffffffffu;  // lanes of a warp
