// Runs CUDA kernels on the processor at hand, one thread after the other, to see whether they are right (not how fast).
//
// The kernels of this project have no barriers and no shared memory: a thread reads what no thread of its launch
// writes, and writes what is its own. So threads can run to their end in any order, and what there is to check is just
// that:
//   * every byte of a result is written, and by one thread alone (`Watch`);
//   * the order of threads and blocks does not matter (`order`);
//   * vectors lie on addresses that are multiples of their size (`check_alignment`);
//   * nothing outside of the buffers is touched: build with -fsanitize=address,undefined.
// What it cannot show: what nvcc makes of the source, and how fast a GPU runs it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#define __global__
#define __device__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __grid_constant__

namespace emulation {

struct Place {
  unsigned x;
};
inline Place thread_place, block_place;

enum class Order { forward, reversed, random };
inline Order order = Order::forward;
inline std::mt19937 random_numbers{1};

// How many blocks of a launch to run, its last ones; for tensors of which only the end is there.
inline unsigned last_blocks = 0xffffffffu;

// How many threads a launch is to have before one of them takes more than a row, a column or a window.
inline std::int64_t enough_threads = 1;

inline std::set<const void*> launched;  // every kernel that has run

[[noreturn]] inline void fail(const std::string& what) {
  throw std::logic_error(what + " [block " + std::to_string(block_place.x) + ", thread " +
                         std::to_string(thread_place.x) + "]");
}

inline void check_alignment(const void* p, std::size_t bytes) {
  if (reinterpret_cast<std::uintptr_t>(p) % bytes != 0)
    fail("access of " + std::to_string(bytes) + " bytes at an address that is no multiple of them");
}

// -- who writes what -------------------------------------------------------------------------------

// The memory of a result, every byte of which is to be written by one thread of one launch.
class Watch {
 public:
  Watch(void* begin, std::size_t bytes) : begin_(static_cast<char*>(begin)), writers_(bytes, 0) {
    std::memset(begin, 0xff, bytes);  // NaN in every type of float: what nobody writes will not pass for a result
    current() = this;
  }
  ~Watch() { current() = nullptr; }
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

  void note(const void* p, std::size_t bytes, std::uint64_t thread) {
    const std::ptrdiff_t at = static_cast<const char*>(p) - begin_;
    if (at < 0 || at + bytes > writers_.size()) return;  // of another buffer; the sanitizers see to those
    for (std::size_t i = at; i < at + bytes; ++i) {
      if (writers_[i] != 0) fail("byte " + std::to_string(i) + " of the result is written twice");
      writers_[i] = thread + 1;
    }
  }
  // How many bytes nobody wrote.
  std::size_t left_out() const { return std::count(writers_.begin(), writers_.end(), 0u); }

  static Watch*& current() {
    static Watch* watch = nullptr;
    return watch;
  }

 private:
  char* begin_;
  std::vector<std::uint64_t> writers_;
};

inline void note_write(const void* p, std::size_t bytes) {
  if (Watch* watch = Watch::current()) watch->note(p, bytes, std::uint64_t{block_place.x} * 1024 + thread_place.x);
}

// -- launches --------------------------------------------------------------------------------------

inline std::vector<unsigned> in_order(unsigned first, unsigned end) {
  std::vector<unsigned> numbers(end > first ? end - first : 0);
  std::iota(numbers.begin(), numbers.end(), first);
  if (order == Order::reversed) std::reverse(numbers.begin(), numbers.end());
  if (order == Order::random) std::shuffle(numbers.begin(), numbers.end(), random_numbers);
  return numbers;
}

template <typename Body>
void launch(const void* kernel, unsigned blocks, unsigned threads, const Body& body) {
  if (blocks == 0 || blocks > 0x7fffffffu || threads == 0 || threads > 1024) fail("a launch that CUDA would refuse");
  launched.insert(kernel);
  for (unsigned block : in_order(blocks > last_blocks ? blocks - last_blocks : 0, blocks)) {
    block_place = {block};
    for (unsigned thread : in_order(0, threads)) {
      thread_place = {thread};
      body();
    }
  }
}

}  // namespace emulation

#define threadIdx emulation::thread_place
#define blockIdx emulation::block_place

inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>((std::uint64_t{a} * b) >> 32); }
