// Which instructions run, and how the batch is divided among threads.
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <sched.h>
#endif
#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

#include "internal.h"

namespace {

bool processor_has(const char* name) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (!strcmp(name, "avx512"))
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("fma");
  if (!strcmp(name, "avx2")) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
  return !strcmp(name, "baseline");
}

const kg_instruction_set* named(const char* name) {
  for (const kg_instruction_set* set : {kg_avx512(), kg_avx2(), kg_baseline()})
    if (set && !strcmp(set->name, name) && processor_has(name)) return set;
  return nullptr;
}

const kg_instruction_set* best() {
  for (const char* name : {"avx512", "avx2"})
    if (const kg_instruction_set* set = named(name)) return set;
  return kg_baseline();
}

std::atomic<const kg_instruction_set*> in_use{nullptr};

const kg_instruction_set& instructions() {
  if (!in_use.load()) in_use.store(best());
  return *in_use.load();
}

std::atomic<int64_t> sparing_from{128 << 20};  // from there memory matters more than a third of the time

struct Job {
  void (*run)(const void*, int);
  const void* context;
  int parts;
  std::atomic<int> next{0}, done{0};
  std::atomic<bool> failed{false};
  std::mutex mutex;
  std::condition_variable finished;

  void work() {
    for (int part; (part = next.fetch_add(1)) < parts;) {
      try {
        run(context, part);
      } catch (const std::bad_alloc&) {
        failed = true;
      }
      if (done.fetch_add(1) + 1 == parts) {
        std::lock_guard<std::mutex> lock(mutex);
        finished.notify_all();
      }
    }
  }
};

// Threads that wait for parts of jobs. Whoever brings a job works on it too, so that it ends even if no thread is free.
class Pool {
 public:
  void run(const std::shared_ptr<Job>& job) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      for (int n = 1; n < job->parts; n++) jobs_.push_back(job);
      while (threads_ < job->parts - 1 && threads_ < 256) {
        try {
          std::thread([this] { serve(); }).detach();
        } catch (const std::system_error&) {
          break;
        }
        threads_++;
      }
    }
    for (int n = 1; n < job->parts; n++) there_is_work_.notify_one();
    job->work();
    std::unique_lock<std::mutex> lock(job->mutex);
    job->finished.wait(lock, [&] { return job->done == job->parts; });
  }

 private:
  void serve() {
    for (;;) {
      std::shared_ptr<Job> job;
      {
        std::unique_lock<std::mutex> lock(mutex_);
        there_is_work_.wait(lock, [&] { return !jobs_.empty(); });
        job = jobs_.back();
        jobs_.pop_back();
      }
      job->work();
    }
  }
  std::mutex mutex_;
  std::condition_variable there_is_work_;
  std::vector<std::shared_ptr<Job>> jobs_;
  int threads_ = 0;
};

// The threads of a framework's OpenMP, if it has one: GOMP_parallel. They wait in a loop for some milliseconds after each parallel
// region, so threads of our own would share their processors with them.
std::atomic<kg_team> team{nullptr};

void work_of(void* job) { static_cast<Job*>(job)->work(); }

// Never destroyed: its threads wait until the process ends. A forked child gets a new one, as threads are not forked.
Pool* pool = nullptr;
std::once_flag pool_once;
void new_pool() { pool = new Pool; }
void after_fork() {
  new_pool();
  team.store(nullptr);  // libgomp waits forever for threads that the parent had
}

void make_pool() {
  std::call_once(pool_once, [] {
    new_pool();
#if defined(__unix__) || defined(__APPLE__)
    pthread_atfork(nullptr, nullptr, after_fork);
#endif
  });
}

template <class Function> bool parallel(int parts, int threads, const Function& function) {
  auto run = [](const void* context, int part) { (*static_cast<const Function*>(context))(part); };
  if (parts == 1) {
    function(0);
    return true;
  }
  make_pool();
  auto job = std::make_shared<Job>();
  job->run = run;
  job->context = &function;
  job->parts = parts;
  if (kg_team run_team = team.load())
    run_team(work_of, job.get(), (unsigned)(threads > parts ? threads : parts), 0);
  else
    pool->run(job);
  return !job->failed;
}

int processors() {
#if defined(__linux__)
  cpu_set_t set;
  if (!sched_getaffinity(0, sizeof set, &set)) return CPU_COUNT(&set);
#endif
  int n = (int)std::thread::hardware_concurrency();
  return n ? n : 1;
}

constexpr int64_t LEAST_ROWS = 2;             // one row reads all weights; two rows take hardly longer
constexpr double LEAST_WORK = 1 << 20;        // multiplications: below, waking a thread takes longer than it saves

int parts_of(const kg_lstm& call) {
  double units = (double)call.units;
  double work = (double)call.batch * (double)call.time * units * 4 * ((double)call.features + units);
  int64_t parts = call.threads > 0 ? call.threads : processors();
  if (work / (double)parts < LEAST_WORK) parts = (int64_t)(work / LEAST_WORK);
  if (parts > call.batch / LEAST_ROWS) parts = call.batch / LEAST_ROWS;
  return parts < 1 ? 1 : (int)parts;
}

struct Memory {
  void* data;
  explicit Memory(void* data) : data(data) {}
  Memory(const Memory&) = delete;
  ~Memory() { kg_release(data); }
};

}  // namespace

int64_t kg_sparing_from() { return sparing_from.load(); }

extern "C" {

const char* kg_instructions() { return instructions().name; }

int kg_use_instructions(const char* name) {
  const kg_instruction_set* set = strcmp(name, "best") ? named(name) : best();
  if (set) in_use.store(set);
  return !set;
}

void kg_use_team(kg_team run_team) {
  make_pool();
  team.store(run_team);
}

void kg_spare_memory_from(int64_t bytes) { sparing_from.store(bytes); }

int64_t kg_lstm_saved_size(const kg_lstm* call) { return instructions().saved_size(*call); }

int kg_lstm_forward(const kg_lstm* call, void* outputs, void* stm, void* ltm, void* saved) try {
  if (!call->batch) return 0;
  const kg_instruction_set& set = instructions();
  Memory packed(set.pack_forward(*call));
  int parts = parts_of(*call);
  return !parallel(parts, call->threads, [&](int part) {
    int64_t first = call->batch * part / parts, end = call->batch * (part + 1) / parts;
    set.forward_rows(*call, packed.data, first, end - first, outputs, stm, ltm, saved);
  });
} catch (const std::bad_alloc&) {
  return 1;
}

int kg_lstm_backward(const kg_lstm* call, const void* outputs, const void* saved, const void* d_outputs, const void* d_stm,
                     const void* d_ltm, const kg_lstm_gradients* gradients) try {
  const kg_instruction_set& set = instructions();
  Memory packed(set.pack_backward(*call));
  int parts = parts_of(*call);
  size_t bytes = ((size_t)set.sums_size(*call) * (call->is_double ? 8 : 4) + 127) / 64 * 64;
  Memory sums(kg_allocate(bytes * (size_t)parts));
  std::vector<void*> blocks;
  for (int part = 0; part < parts; part++) blocks.push_back((char*)sums.data + bytes * (size_t)part);
  bool well = parallel(parts, call->threads, [&](int part) {
    int64_t first = call->batch * part / parts, end = call->batch * (part + 1) / parts;
    memset(blocks[(size_t)part], 0, bytes);
    if (end > first)
      set.backward_rows(*call, packed.data, first, end - first, outputs, saved, d_outputs, d_stm, d_ltm, *gradients,
                        blocks[(size_t)part]);
  });
  if (well) set.add_sums(*call, blocks.data(), parts, *gradients);
  return !well;
} catch (const std::bad_alloc&) {
  return 1;
}
}
