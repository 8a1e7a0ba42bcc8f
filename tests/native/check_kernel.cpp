// The kernel against a plain scalar LSTM in double precision: every instruction set of this processor, both formulations, masks,
// directions, odd sizes, one and two threads. Layer normalization, zoneout and projection, whose numbers tests/layers compares with the
// cell, are compared with the kernel's own double precision in one thread. Built by test_core.py, also with the address and
// undefined-behaviour sanitizers.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <vector>

#include "lstm.h"

using Numbers = std::vector<double>;

struct Case {
  int64_t batch, time, features, units;
  bool article, bias, sequences, backwards, zeros, from_stm, masked;
  int threads;
  bool sparing;  // the backward pass computes the gates again
  bool peephole, coupled;
  bool normal, memory, zoned, drawn;
  int64_t projection;
  bool variant() const { return normal || memory || zoned || projection; }
};

struct Data {
  Numbers events, stm, ltm, kernel, recurrent, bias, kept_kernel, kept_bias, peephole, d_outputs, d_stm, d_ltm;
  Numbers gains, memory, projection, zones;
  std::vector<uint8_t> mask;
};

struct Results {
  Numbers outputs, stm, ltm, d_events, d_stm, d_ltm, d_kernel, d_recurrent, d_bias, d_kept_kernel, d_kept_bias, d_peephole, d_variant;
  Numbers* all[13] = {&outputs, &stm, &ltm, &d_events, &d_stm, &d_ltm, &d_kernel, &d_recurrent, &d_bias, &d_kept_kernel, &d_kept_bias,
                      &d_peephole, &d_variant};
};
const char* NAMES[] = {"outputs", "stm", "ltm", "d_events", "d_stm", "d_ltm", "d_kernel", "d_recurrent", "d_bias", "d_kept_kernel",
                       "d_kept_bias", "d_peephole", "d_variant"};

static double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

static Results plain(const Case& c, const Data& d) {
  int64_t B = c.batch, T = c.time, F = c.features, U = c.units, G = 4 * U;
  Results r;
  r.outputs.assign(B * (c.sequences ? T : 1) * U, 0);
  r.stm = d.stm, r.ltm = d.ltm;
  r.d_events.assign(B * T * F, 0), r.d_stm = d.d_stm, r.d_ltm = d.d_ltm;
  r.d_kernel.assign(F * G, 0), r.d_recurrent.assign(U * G, 0), r.d_bias.assign(c.bias ? G : 0, 0);
  r.d_kept_kernel.assign(c.article ? U * U : 0, 0), r.d_kept_bias.assign(c.article && c.bias ? U : 0, 0), r.d_peephole.assign(c.peephole ? 3 * U : 0, 0);
  auto peep = [&](int gate, int64_t u) { return c.peephole ? d.peephole[gate * U + u] : 0; };
  for (int64_t b = 0; b < B; b++) {
    double *h = &r.stm[b * U], *l = &r.ltm[b * U], *dh = &r.d_stm[b * U], *dl = &r.d_ltm[b * U];
    std::vector<Numbers> gates(T, Numbers(G)), before_h(T, Numbers(U)), before_l(T, Numbers(U)), us(T, Numbers(U)), after_l(T, Numbers(U));
    std::vector<bool> shows(T), counts(T);
    bool seen = c.from_stm;
    for (int64_t t = 0; t < T; t++) {
      int64_t at = c.backwards ? T - 1 - t : t;
      counts[t] = !c.masked || d.mask[b * T + at];
      seen = seen || counts[t];
      shows[t] = !c.masked || (c.zeros ? counts[t] : seen);
      std::copy(h, h + U, before_h[t].begin());
      std::copy(l, l + U, before_l[t].begin());
      if (counts[t]) {
        for (int64_t g = 0; g < G; g++) {
          double z = c.bias ? d.bias[g] : 0;
          for (int64_t f = 0; f < F; f++) z += d.events[(b * T + at) * F + f] * d.kernel[f * G + g];
          for (int64_t u = 0; u < U; u++) z += before_h[t][u] * d.recurrent[u * G + g];
          if (g / U < 2) z += peep((int)(g / U), g % U) * before_l[t][g % U];
          gates[t][g] = g / U == 2 ? std::tanh(z) : g / U == 3 ? z : sigmoid(z);
          if (c.coupled && g / U == 1) gates[t][g] = 1 - gates[t][g - U];
        }
        double *i = &gates[t][0], *f = i + U, *n = f + U, *v = n + U;
        for (int64_t u = 0; u < U; u++) l[u] = before_l[t][u] * f[u] + i[u] * n[u];
        for (int64_t u = 0; u < U; u++) v[u] = sigmoid(v[u] + peep(2, u) * l[u]);
        after_l[t].assign(l, l + U);
        for (int64_t u = 0; u < U; u++) {
          double source = l[u];
          if (c.article) {
            source = c.bias ? d.kept_bias[u] : 0;
            for (int64_t k = 0; k < U; k++) source += before_l[t][k] * f[k] * d.kept_kernel[k * U + u];
          }
          us[t][u] = std::tanh(source);
          h[u] = us[t][u] * v[u];
        }
      }
      if (c.sequences && shows[t]) std::copy(h, h + U, &r.outputs[(b * T + t) * U]);
    }
    bool last_shows = T ? shows[T - 1] : !c.masked || (c.from_stm && !c.zeros);
    if (!c.sequences && last_shows) {
      std::copy(h, h + U, &r.outputs[b * U]);
      for (int64_t u = 0; u < U; u++) dh[u] += d.d_outputs[b * U + u];
    }
    for (int64_t t = T - 1; t >= 0; t--) {
      int64_t at = c.backwards ? T - 1 - t : t;
      if (c.sequences && shows[t])
        for (int64_t u = 0; u < U; u++) dh[u] += d.d_outputs[(b * T + t) * U + u];
      if (!counts[t]) continue;
      const double *i = &gates[t][0], *f = i + U, *n = f + U, *v = n + U;
      Numbers source(U), dz(G);
      for (int64_t u = 0; u < U; u++) source[u] = dh[u] * v[u] * (1 - us[t][u] * us[t][u]);
      for (int64_t u = 0; u < U; u++) {
        dz[3 * U + u] = dh[u] * us[t][u] * v[u] * (1 - v[u]);
        dl[u] += dz[3 * U + u] * peep(2, u);
      }
      Numbers kept(dl, dl + U);
      for (int64_t u = 0; u < U; u++) {
        if (!c.article) {
          dl[u] += source[u];
          kept[u] = dl[u];
          continue;
        }
        if (c.bias) r.d_kept_bias[u] += source[u];
        for (int64_t k = 0; k < U; k++) {
          kept[k] += source[u] * d.kept_kernel[k * U + u];
          r.d_kept_kernel[k * U + u] += source[u] * before_l[t][k] * f[k];
        }
      }
      for (int64_t u = 0; u < U; u++) {
        double d_forget = kept[u] * before_l[t][u];
        dz[u] = (dl[u] * n[u] - (c.coupled ? d_forget : 0)) * i[u] * (1 - i[u]);
        dz[U + u] = c.coupled ? 0 : d_forget * f[u] * (1 - f[u]);
        dz[2 * U + u] = dl[u] * i[u] * (1 - n[u] * n[u]);
        dl[u] = kept[u] * f[u] + dz[u] * peep(0, u) + dz[U + u] * peep(1, u);
        dh[u] = 0;
        if (!c.peephole) continue;
        r.d_peephole[u] += dz[u] * before_l[t][u];
        r.d_peephole[U + u] += dz[U + u] * before_l[t][u];
        r.d_peephole[2 * U + u] += dz[3 * U + u] * after_l[t][u];
      }
      for (int64_t g = 0; g < G; g++) {
        if (c.bias) r.d_bias[g] += dz[g];
        for (int64_t k = 0; k < F; k++) {
          r.d_events[(b * T + at) * F + k] += dz[g] * d.kernel[k * G + g];
          r.d_kernel[k * G + g] += dz[g] * d.events[(b * T + at) * F + k];
        }
        for (int64_t k = 0; k < U; k++) {
          dh[k] += dz[g] * d.recurrent[k * G + g];
          r.d_recurrent[k * G + g] += dz[g] * before_h[t][k];
        }
      }
    }
  }
  return r;
}

template <class T> static std::vector<T> as(const Numbers& numbers) { return std::vector<T>(numbers.begin(), numbers.end()); }

// Columns of the gates side by side, as three matrices: learn (ignore | candidate), forget, use.
template <class T> static void apart(const Numbers& joint, int64_t U, std::vector<T>* to) {
  for (size_t k = 0; k < joint.size(); k++) {
    int64_t gate = (int64_t)k / U % 4;
    to[gate == 1 ? 1 : gate == 3 ? 2 : 0].push_back((T)joint[k]);
  }
}
template <class T> static Numbers together(const std::vector<T>* parts, int64_t U) {
  Numbers joint;
  size_t at[3] = {0, 0, 0};
  while (at[0] < parts[0].size())
    for (int which : {0, 1, 0, 2})
      for (int64_t u = 0; u < U; u++) joint.push_back(parts[which].empty() ? 0 : (double)parts[which][at[which]++]);
  return joint;
}

template <class T> static Results kernel(const Case& c, const Data& d) {
  const T bad = (T)NAN;  // what is not written or read too far shows
  std::vector<T> arrays[KG_ARRAYS], gradients[KG_WITH_GRADIENT];
  auto d_out = as<T>(d.d_outputs), d_stm = as<T>(d.d_stm), d_ltm = as<T>(d.d_ltm);
  arrays[KG_EVENTS] = as<T>(d.events), arrays[KG_STM] = as<T>(d.stm), arrays[KG_LTM] = as<T>(d.ltm);
  apart(d.kernel, c.units, arrays + KG_KERNEL), apart(d.recurrent, c.units, arrays + KG_RECURRENT), apart(d.bias, c.units, arrays + KG_BIAS);
  if (c.coupled)
    for (int array : {KG_KERNEL + 1, KG_RECURRENT + 1, KG_BIAS + 1}) arrays[array].clear();
  for (int64_t k = 0; k < (int64_t)d.peephole.size(); k++) arrays[KG_PEEPHOLE + k / c.units].push_back((T)d.peephole[k]);
  arrays[KG_KEPT_KERNEL] = as<T>(d.kept_kernel), arrays[KG_KEPT_BIAS] = as<T>(d.kept_bias), arrays[KG_PROJECTION] = as<T>(d.projection);
  if (c.normal) apart(d.gains, c.units, arrays + KG_EVENT_GAIN), apart(d.gains, c.units, arrays + KG_STM_GAIN);
  if (c.normal && c.coupled) arrays[KG_EVENT_GAIN + 1].clear(), arrays[KG_STM_GAIN + 1].clear();
  if (c.memory) arrays[KG_MEMORY_GAIN] = as<T>(d.memory), arrays[KG_MEMORY_BIAS] = as<T>(d.memory);
  if (c.zoned) arrays[KG_LTM_ZONES] = as<T>(d.zones), arrays[KG_STM_ZONES] = as<T>(d.zones);
  if (c.normal || c.memory) arrays[KG_EPSILONS].assign(3, (T)1e-2);
  kg_lstm call = {};
  kg_lstm_gradients to = {};
  call.batch = c.batch, call.time = c.time, call.features = c.features, call.units = c.units, call.projection = c.projection;
  call.is_double = sizeof(T) == 8, call.sequences = c.sequences, call.go_backwards = c.backwards, call.zeros = c.zeros;
  call.from_stm = c.from_stm, call.threads = c.threads, call.drawn = c.drawn, call.mask = c.masked ? d.mask.data() : nullptr;
  for (int n = 0; n < KG_ARRAYS; n++) {
    if (n > KG_LTM && arrays[n].empty()) continue;  // none
    call.arrays[n] = arrays[n].data();
    if (n >= KG_WITH_GRADIENT) continue;
    gradients[n].assign(arrays[n].size(), bad);
    to.arrays[n] = gradients[n].data();
  }
  kg_spare_memory_from(c.sparing ? 0 : INT64_MAX);
  std::vector<T> out(d_out.size(), bad), h(d.stm.size(), bad), l(d.ltm.size(), bad), saved((size_t)kg_lstm_saved_size(&call), bad);
  std::vector<T> alone(out), alone_h(h), alone_l(l);
  if (kg_lstm_forward(&call, alone.data(), alone_h.data(), alone_l.data(), nullptr)) abort();
  if (kg_lstm_forward(&call, out.data(), h.data(), l.data(), saved.data())) abort();
  if (out.size() && memcmp(alone.data(), out.data(), out.size() * sizeof(T))) {
    printf("saving changes the outputs\n");
    exit(1);
  }
  if (kg_lstm_backward(&call, out.data(), saved.data(), d_out.data(), d_stm.data(), d_ltm.data(), &to)) abort();
  Results r;
  r.outputs = Numbers(out.begin(), out.end()), r.stm = Numbers(h.begin(), h.end()), r.ltm = Numbers(l.begin(), l.end());
  auto numbers = [&](int n) { return Numbers(gradients[n].begin(), gradients[n].end()); };
  r.d_events = numbers(KG_EVENTS), r.d_stm = numbers(KG_STM), r.d_ltm = numbers(KG_LTM);
  r.d_kernel = together(gradients + KG_KERNEL, c.units), r.d_recurrent = together(gradients + KG_RECURRENT, c.units);
  r.d_bias = together(gradients + KG_BIAS, c.units), r.d_kept_kernel = numbers(KG_KEPT_KERNEL), r.d_kept_bias = numbers(KG_KEPT_BIAS);
  for (int n = KG_PEEPHOLE; n < KG_KEPT_KERNEL; n++)
    for (double x : numbers(n)) (n < KG_EVENT_GAIN ? r.d_peephole : r.d_variant).push_back(x);
  for (int n : {KG_MEMORY_GAIN, KG_MEMORY_BIAS, KG_PROJECTION})
    for (double x : numbers(n)) r.d_variant.push_back(x);
  return r;
}

static int compare(const Case& c, const Results& got, const Results& wanted, double tolerance, const char* kind) {
  for (int n = 0; n < 13; n++) {
    const Numbers &a = *got.all[n], &b = *wanted.all[n];
    double largest = 1e-3, error = a.size() == b.size() ? 0 : INFINITY;
    for (double x : b) largest = std::max(largest, std::fabs(x));
    for (size_t k = 0; k < b.size() && k < a.size(); k++) {
      double e = std::fabs(a[k] - b[k]);
      if (!(e <= error)) error = e;
    }
    if (error <= tolerance * largest) continue;
    printf("%s %s %s: error %g of %g; batch %d time %d features %d units %d article %d bias %d sequences %d backwards %d zeros %d "
           "from_stm %d masked %d threads %d sparing %d peephole %d coupled %d normal %d memory %d "
           "zoned %d drawn %d projection %d\n", kg_instructions(), kind, NAMES[n], error, largest, (int)c.batch, (int)c.time,
           (int)c.features, (int)c.units, c.article, c.bias, c.sequences, c.backwards, c.zeros, c.from_stm, c.masked, c.threads, c.sparing,
           c.peephole, c.coupled, c.normal, c.memory, c.zoned, c.drawn, (int)c.projection);
    return 1;
  }
  return 0;
}

int main(int argc, char** argv) {
  int count = argc > 1 ? atoi(argv[1]) : 300, failures = 0, sets = 0, run = 0;
  const int64_t SIZES[][4] = {{1, 1, 1, 1}, {3, 5, 2, 4}, {0, 3, 2, 4}, {2, 0, 3, 5}, {7, 6, 13, 17}, {13, 9, 5, 8}, {1, 40, 9, 33},
                              {25, 12, 3, 20}, {40, 7, 16, 32}, {4, 150, 2, 3}, {160, 3, 4, 9}, {33, 33, 40, 48}};
  for (const char* name : {"baseline", "avx2", "avx512"}) {
    if (kg_use_instructions(name)) continue;
    sets++;
    std::mt19937 random(7);
    std::normal_distribution<double> normal;
    auto numbers = [&](int64_t n) {
      Numbers v((size_t)n);
      for (double& x : v) x = (float)normal(random);
      return v;
    };
    for (int k = 0; k < count; k++) {
      const int64_t* size = SIZES[k % (sizeof SIZES / sizeof *SIZES)];
      auto flip = [&] { return (random() >> 7) % 2 == 1; };
      Case c = {size[0], size[1], size[2], size[3], flip(), flip(), flip(), flip(), flip(), flip(), flip(), 1 + flip(), flip(), flip(), flip(), false, false, false, false, 0};
      if (flip()) {
        c.normal = flip(), c.memory = flip(), c.zoned = flip(), c.drawn = flip();
        c.projection = flip() ? 1 + (int64_t)(random() % (unsigned)c.units) : 0;
      }
      int64_t B = c.batch, T = c.time, U = c.units;
      Data d;
      d.events = numbers(B * T * c.features), d.stm = numbers(B * U), d.ltm = numbers(B * U);
      d.kernel = numbers(c.features * 4 * U), d.recurrent = numbers(U * 4 * U), d.bias = numbers(c.bias ? 4 * U : 0);
      d.kept_kernel = numbers(c.article ? U * U : 0), d.kept_bias = numbers(c.article && c.bias ? U : 0);
      d.peephole = numbers(c.peephole ? 3 * U : 0);
      d.gains = numbers(4 * U), d.memory = numbers(U), d.projection = numbers(U * c.projection);
      d.zones = numbers(c.drawn ? T * B * U : 1);
      for (double& z : d.zones) z = c.drawn ? z > 0.5 : 0.25;
      for (Numbers* v : {&d.kernel, &d.recurrent, &d.kept_kernel, &d.peephole, &d.projection})
        for (double& x : *v) x = (float)(x / std::sqrt((double)U + (double)c.features));
      d.d_outputs = numbers(B * (c.sequences ? T : 1) * U), d.d_stm = numbers(B * U), d.d_ltm = numbers(B * U);
      d.mask.resize((size_t)(B * T + 1));  // never empty: a null pointer means no mask
      for (auto& m : d.mask) m = random() % 3 != 0;
      Case simple = c;
      simple.threads = 1, simple.sparing = false;
      Results wanted = c.variant() ? kernel<double>(simple, d) : plain(c, d);
      failures += compare(c, kernel<double>(c, d), wanted, 1e-12, "double");
      failures += compare(c, kernel<float>(c, d), wanted, c.variant() ? 2e-3 : 2e-5, "float");
      run += 2;
    }
  }
  printf("%d cases, %d instruction sets, %d failures\n", run, sets, failures);
  return failures != 0;
}
