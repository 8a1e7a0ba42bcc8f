// The part of XLA's C interface for custom calls that the handlers need, as declared in xla/ffi/api/c_api.h of jaxlib: nothing of JAX
// is needed to build. Every structure begins with its size, so a newer XLA may append members.
#pragma once
#include <cstddef>
#include <cstdint>

namespace xla {
constexpr int VERSION_MAJOR = 0, VERSION_MINOR = 1;  // the oldest whose structures are these
constexpr int METADATA = 1, INVALID_ARGUMENT = 3, RESOURCE_EXHAUSTED = 8, PRED = 1, S32 = 4, F32 = 11, F64 = 12;

struct Extension {
  size_t size;
  int type;
  Extension* next;
};
struct Version {
  size_t size;
  Extension* extensions;
  int major, minor;
};
struct Metadata {
  size_t size;
  Version version;
  uint32_t traits;
};
struct MetadataExtension {
  Extension base;
  Metadata* metadata;
};
struct Error;
struct ErrorArguments {
  size_t size;
  Extension* extensions;
  const char* message;
  int code;
};
struct Api {
  size_t size;
  Extension* extensions;
  Version version;
  const void* internal;
  Error* (*create_error)(ErrorArguments*);
};
struct Buffer {
  size_t size;
  Extension* extensions;
  int type;
  void* data;
  int64_t rank;
  int64_t* dimensions;
};
struct Buffers {  // arguments or results
  size_t size;
  Extension* extensions;
  int64_t count;
  int* types;  // all are buffers
  Buffer** of;
};
struct Name {
  const char* letters;
  size_t length;
};
struct Scalar {
  int type;
  void* value;
};
struct Attributes {
  size_t size;
  Extension* extensions;
  int64_t count;
  int* types;
  Name** names;
  void** of;
};
struct CallFrame {
  size_t size;
  Extension* extensions;
  const Api* api;
  void* context;
  int stage;
  Buffers arguments, results;
  Attributes attributes;
};
}  // namespace xla
