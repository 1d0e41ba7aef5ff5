// What the compiled sources share: results of a call, exponentials, and small products in registers.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>
typedef int64_t I;

enum { DONE, MEMORY, SIZES, WEIGHTS };           // what a function returns: native.STATUS says it in words

template<class F> static inline void caught(int &status, F body) {               // an exception that leaves a thread would end the process
    try { body(); } catch (...) {
        #pragma omp atomic write
        status = MEMORY;
    }
}

template<class S> static S above_0(S z) { return z < 0 ? 0 : z; }                // and NaN stays NaN

static inline float exponential(float x) {       // to 2 units of the last place; Cody and Waite's reduction, a polynomial of degree 7
    x = x < -87.f ? -87.f : x > 87.f ? 87.f : x;
    float n = std::nearbyint(x*1.44269504f), r = (x - n*0.693359375f) + n*2.12194440e-4f, p = 1.f/5040;
    p = p*r + 1.f/720; p = p*r + 1.f/120; p = p*r + 1.f/24; p = p*r + 1.f/6; p = p*r + .5f; p = p*r*r + r + 1.f;
    int32_t bits = ((int32_t)n + 127) << 23;
    float power; std::memcpy(&power, &bits, 4);
    return p*power;
}
static inline double exponential(double x) { return std::exp(x < -350 ? -350 : x > 350 ? 350 : x); }

template<class S> static inline S sigmoid(S z) { return 1/(1 + exponential(-z)); }
template<class S> static inline S gated(S z) {   // tanh(z) sigmoid(z): with E = exp(-z), tanh = (1 - E²)/(1 + E²)
    S e = exponential(-z), ee = e < S(1e9) ? e*e : S(1e18);
    return (1 - ee)/(1 + ee)/(1 + e);
}

// ---- rows of V joints are padded to B vectors of 32 bytes; R rows go together, as many as leave the sums in registers --
template<class S> struct Vector { typedef S of __attribute__((vector_size(32), aligned(sizeof(S)), may_alias)); static constexpr int width = 32/sizeof(S); };

template<class S> static void padded(I V, I W, const S *f, S *to, bool turned) {
    for (I u = 0; u < V; u++) for (I v = 0; v < W; v++) to[u*W + v] = v >= V ? 0 : turned ? f[v*V + u] : f[u*V + v];
}

template<class S, int B, int R> static inline void times(I steps, const S *p, I down, I right, const S *f, typename Vector<S>::of (&sum)[R][B]) {
    constexpr int l = Vector<S>::width;          // sum[r] += sum_v p[r·down + v·right] f[v]
    for (I v = 0; v < steps; v++)
        #pragma GCC unroll 8
        for (int j = 0; j < B; j++) {
            typename Vector<S>::of q = *(const typename Vector<S>::of*)(f + v*B*l + j*l);
            #if defined(__x86_64__)
            asm("" : "+x"(q));                   // loaded once, not once for each row
            #endif
            #pragma GCC unroll 8
            for (int r = 0; r < R; r++) sum[r][j] += p[r*down + v*right]*q;
        }
}

template<class S, int B, int R> static inline void mix_rows(int K, I V, I apart, const S *p, const S *f, S *y, S gate, const S *e) {
    constexpr int l = Vector<S>::width;          // e is padded too
    typename Vector<S>::of sum[R][B] = {};
    for (int k = 0; k < K; k++) times<S, B, R>(V, p + k*apart, V, 1, f + k*V*B*l, sum);
    for (int r = 0; r < R; r++) for (int j = 0; j < B; j++) {
        typename Vector<S>::of z = sum[r][j]*gate + *(const typename Vector<S>::of*)(e + j*l);
        if (r < R - 1 || (j + 1)*l <= V) *(typename Vector<S>::of*)(y + r*V + j*l) = z;      // what stands over is the next row's, and is written again
        else for (I v = j*l; v < V; v++) y[r*V + v] = z[v - j*l];
    }
}

template<class S, int B> static inline void mix_frames(int K, I V, I T, I apart, const S *p, const S *f, S *y, S gate, const S *e) {
    constexpr int R = B < 4 ? 4 : 3;
    I t = 0;
    for (; t + R <= T; t += R) mix_rows<S, B, R>(K, V, apart, p + t*V, f, y + t*V, gate, e);
    for (; t < T; t++) mix_rows<S, B, 1>(K, V, apart, p + t*V, f, y + t*V, gate, e);
}

#define FOR_B(f, b, ...) case b: return f<S, b*32/sizeof(S) <= 32 ? b : 1>(__VA_ARGS__);      // V up to 32
#define VECTORS(f, ...) switch ((V*sizeof(S) + 31)/32) { FOR_B(f, 1, __VA_ARGS__) FOR_B(f, 2, __VA_ARGS__) FOR_B(f, 3, __VA_ARGS__) FOR_B(f, 4, __VA_ARGS__) \
    FOR_B(f, 5, __VA_ARGS__) FOR_B(f, 6, __VA_ARGS__) FOR_B(f, 7, __VA_ARGS__) FOR_B(f, 8, __VA_ARGS__) }
