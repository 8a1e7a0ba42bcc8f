// Memory of a call. Large blocks are kept for the next one: the system hands out new ones page by page, each zeroed, which takes
// longer than a short sequence.
#include <cstdlib>
#include <mutex>
#include <new>

#include "internal.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define KG_KEEPS_NOTHING  // or it would not see who reads behind a block
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define KG_KEEPS_NOTHING
#endif

namespace {

constexpr size_t HEAD = 64;  // in front of a block, as long as its alignment: its size
#if defined(KG_KEEPS_NOTHING)
constexpr size_t KEPT_FROM = SIZE_MAX;
#else
constexpr size_t KEPT_FROM = 1 << 14;
#endif
constexpr size_t KEPT_BYTES = 32 << 20;
constexpr int KEPT_BLOCKS = 64;

// Whoever finds the mutex taken does without: so nobody waits, not even in a child that was forked while another thread held it.
std::mutex mutex;
char* kept[KEPT_BLOCKS];
int count = 0;
size_t kept_bytes = 0;

size_t& size_of(char* block) { return *reinterpret_cast<size_t*>(block); }

char* take(size_t bytes) {
  std::unique_lock<std::mutex> lock(mutex, std::try_to_lock);
  if (!lock) return nullptr;
  int best = -1;
  for (int n = 0; n < count; n++) {
    size_t size = size_of(kept[n]);
    if (size >= bytes && size / 2 <= bytes && (best < 0 || size < size_of(kept[best]))) best = n;
  }
  if (best < 0) return nullptr;
  char* block = kept[best];
  kept[best] = kept[--count];
  kept_bytes -= size_of(block);
  return block;
}

bool keep(char* block) {
  size_t bytes = size_of(block);
  if (bytes < KEPT_FROM || bytes > KEPT_BYTES / 2) return false;
  std::unique_lock<std::mutex> lock(mutex, std::try_to_lock);
  if (!lock || count == KEPT_BLOCKS || kept_bytes + bytes > KEPT_BYTES) return false;
  kept[count++] = block;
  kept_bytes += bytes;
  return true;
}

char* from_system(size_t bytes) {
#if defined(_WIN32)
  return static_cast<char*>(_aligned_malloc(bytes, 64));
#else
  void* memory = nullptr;
  return posix_memalign(&memory, 64, bytes) ? nullptr : static_cast<char*>(memory);
#endif
}

}  // namespace

void* kg_allocate(size_t bytes) {
  bytes += HEAD;
  char* block = bytes >= KEPT_FROM ? take(bytes) : nullptr;
  if (!block) {
    block = from_system(bytes);
    if (!block) throw std::bad_alloc();
    size_of(block) = bytes;
  }
  return block + HEAD;
}

void kg_release(void* memory) {
  if (!memory) return;
  char* block = static_cast<char*>(memory) - HEAD;
  if (keep(block)) return;
#if defined(_WIN32)
  _aligned_free(block);
#else
  free(block);
#endif
}
