// MSA-GCN's steps on a processor. What each function computes, and what its arguments are, says nbs/19_native.ipynb.
// Tensors are (N, C, L), dense but for the first stride, which is given beside the pointer. Each sum is one thread's
// and has one order: how many threads there are changes no bit.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>
typedef int64_t I;

template<class S> struct Rows { S *at; I step; S *row(I n, I c, I L) const { return at + n*step + c*L; } };
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

// ---- BatchNorm ------------------------------------------------------------------------------------------------------
struct Moments {                                 // of a channel: rows are joined as Chan does
    double n = 0, mean = 0, square = 0;
    template<class S> void add(const S *x, I L) {
        S sum = 0, q = 0;
        #pragma omp simd reduction(+:sum)
        for (I i = 0; i < L; i++) sum += x[i];
        S m = sum/L;
        #pragma omp simd reduction(+:q)
        for (I i = 0; i < L; i++) q += (x[i] - m)*(x[i] - m);
        double d = m - mean, all = n + L;
        square += q + d*d*n*L/all; mean += d*L/all; n = all;
    }
    template<class S> void tell(S &centre, S &inverse, S &var, double eps) {
        centre = mean; inverse = 1/std::sqrt(square/n + eps); var = square/(n > 1 ? n - 1 : 1);
    }
};

template<class S> static void norm(I N, I C, I L, Rows<const S> x, Rows<const S> r, S *y, const S *w, const S *b,
                                   S *centre, S *inverse, S *var, double eps, bool relu, int threads) {
    #pragma omp parallel for schedule(static) num_threads(threads)
    for (I c = 0; c < C; c++) {
        Moments m;
        for (I n = 0; n < N; n++) m.add(x.row(n, c, L), L);
        m.tell(centre[c], inverse[c], var[c], eps);
        S a = w[c]*inverse[c], h = b[c] - centre[c]*a;
        for (I n = N; n--;) {                    // the last rows are still in the cache
            const S *p = x.row(n, c, L), *o = r.at ? r.row(n, c, L) : nullptr; S *q = y + (n*C + c)*L;
            if (o && relu) for (I i = 0; i < L; i++) q[i] = above_0(p[i]*a + h + o[i]);
            else if (o) for (I i = 0; i < L; i++) q[i] = p[i]*a + h + o[i];
            else if (relu) for (I i = 0; i < L; i++) q[i] = above_0(p[i]*a + h);
            else for (I i = 0; i < L; i++) q[i] = p[i]*a + h;
        }
    }
}

template<class S> static void norm_backward(I N, I C, I L, Rows<const S> g, Rows<const S> x, const S *y, Rows<S> gx, S *gr,
                                            const S *w, const S *centre, const S *inverse, S *gw, S *gb, bool relu, int threads) {
    #pragma omp parallel for schedule(static) num_threads(threads)
    for (I c = 0; c < C; c++) {
        double s = 0, t = 0, inv = inverse[c], M = (double)N*L; S m = centre[c];
        for (I n = 0; n < N; n++) {
            const S *p = g.row(n, c, L), *q = x.row(n, c, L), *o = y + (n*C + c)*L; S u = 0, v = 0;
            if (relu) {
                #pragma omp simd reduction(+:u,v)
                for (I i = 0; i < L; i++) { S d = o[i] > 0 ? p[i] : 0; u += d; v += d*(q[i] - m); }
            } else {
                #pragma omp simd reduction(+:u,v)
                for (I i = 0; i < L; i++) { u += p[i]; v += p[i]*(q[i] - m); }
            }
            s += u; t += v;
        }
        gb[c] = s; gw[c] = t*inv;
        S a = w[c]*inv, e = -w[c]*inv*inv*inv*t/M, h = -w[c]*inv*s/M - e*m;
        for (I n = N; n--;) {
            const S *p = g.row(n, c, L), *q = x.row(n, c, L), *o = y + (n*C + c)*L; S *k = gx.row(n, c, L), *f = gr + (n*C + c)*L;
            if (relu && gr) {
                #pragma omp simd
                for (I i = 0; i < L; i++) { S d = o[i] > 0 ? p[i] : 0; f[i] = d; k[i] = d*a + q[i]*e + h; }
            } else if (relu) {
                #pragma omp simd
                for (I i = 0; i < L; i++) k[i] = (o[i] > 0 ? p[i] : 0)*a + q[i]*e + h;
            } else {
                #pragma omp simd
                for (I i = 0; i < L; i++) k[i] = p[i]*a + q[i]*e + h;
            }
        }
    }
}

// ---- gate behind a BatchNorm: with E = exp(-z), sigmoid = 1/(1 + E) and tanh = (1 - E²)/(1 + E²) ---------------------
template<class S> static void gate(I N, I C, I L, const S *x, S *y, const S *w, const S *b, S *centre, S *inverse, S *var, double eps, int threads) {
    #pragma omp parallel for schedule(static) num_threads(threads)
    for (I c = 0; c < C; c++) {
        S a[2], h[2];
        for (int k = 0; k < 2; k++) {
            I j = c + k*C; Moments m;
            for (I n = 0; n < N; n++) m.add(x + (n*2*C + j)*L, L);
            m.tell(centre[j], inverse[j], var[j], eps);
            a[k] = w[c]*inverse[j]; h[k] = b[c] - centre[j]*a[k];
        }
        for (I n = N; n--;) {
            const S *p = x + (n*2*C + c)*L, *q = p + C*L; S *o = y + (n*C + c)*L;
            #pragma omp simd
            for (I i = 0; i < L; i++) {
                S e = exponential(-(p[i]*a[0] + h[0])), f = exponential(-(q[i]*a[1] + h[1]));
                S ee = e < S(1e9) ? e*e : S(1e18), ff = f < S(1e9) ? f*f : S(1e18);
                o[i] = (1 - ee)/(1 + ee)/(1 + e) + (1 - ff)/(1 + ff)/(1 + f);
            }
        }
    }
}

template<class S> static void gate_backward(I N, I C, I L, Rows<const S> g, const S *x, S *gx, const S *w, const S *b,
                                            const S *centre, const S *inverse, S *gw, S *gb, int threads) {
    #pragma omp parallel for schedule(static) num_threads(threads)
    for (I j = 0; j < 2*C; j++) {
        I c = j % C; double s = 0, t = 0, inv = inverse[j], M = (double)N*L; S m = centre[j], a = w[c]*inv, h = b[c] - m*a;
        for (I n = 0; n < N; n++) {
            const S *p = g.row(n, c, L), *q = x + (n*2*C + j)*L; S *k = gx + (n*2*C + j)*L, u = 0, v = 0;
            #pragma omp simd reduction(+:u,v)
            for (I i = 0; i < L; i++) {
                S e = exponential(-(q[i]*a + h)), ee = e < S(1e9) ? e*e : S(1e18), sg = 1/(1 + e), th = (1 - ee)/(1 + ee);
                S d = p[i]*sg*(1 + th*(1 - th - sg));
                k[i] = d; u += d; v += d*(q[i] - m);
            }
            s += u; t += v;
        }
        gb[j] = s; gw[j] = t*inv;
        S f = -w[c]*inv*inv*inv*t/M, o = -w[c]*inv*s/M - f*m;
        for (I n = N; n--;) {
            const S *q = x + (n*2*C + j)*L; S *k = gx + (n*2*C + j)*L;
            #pragma omp simd
            for (I i = 0; i < L; i++) k[i] = k[i]*a + q[i]*f + o;
        }
    }
}

// ---- the largest of three frames ------------------------------------------------------------------------------------
template<class S> static void three(I N, I T, I U, I V, I stride, const S *x, S *y, uint8_t *which, int threads) {
    #pragma omp parallel for schedule(static) num_threads(threads)
    for (I n = 0; n < N; n++) for (I t = 0; t < U; t++) {
        const S *p = x + (n*T + t*stride)*V; S *q = y + (n*U + t)*V; uint8_t *o = which + (n*U + t)*V;
        bool first = t == 0, last = t*stride == T - 1;
        const S *before = first ? p : p - V, *after = last ? p : p + V;          // at the ends a frame stands for its neighbour, and never wins
        for (I v = 0; v < V; v++) {
            bool here = first || p[v] > before[v]; S m = here ? p[v] : before[v];
            bool then = after[v] > m; o[v] = then ? 2 : here; q[v] = then ? after[v] : m;
        }
    }
}

template<class S> static void three_backward(I N, I T, I U, I V, I stride, const S *g, const uint8_t *which, S *gx, int threads) {
    #pragma omp parallel for schedule(static) num_threads(threads)
    for (I n = 0; n < N; n++) {
        S *k = gx + n*T*V; std::memset(k, 0, sizeof(S)*T*V);
        for (I t = 0; t < U; t++) for (int j = 0; j < 3; j++) {
            I there = t*stride + j - 1; if (there < 0 || there >= T) continue;
            const S *p = g + (n*U + t)*V; const uint8_t *o = which + (n*U + t)*V; S *q = k + there*V;
            for (I v = 0; v < V; v++) q[v] += o[v] == j ? p[v] : 0;
        }
    }
}

// ---- the end of a block: relu(relu(x) + r), x one of several parts of the channels ----------------------------------
template<class S> static void join(I N, I C, I L, const S *x, Rows<const S> r, Rows<S> y, uint8_t *positive, int threads) {
    #pragma omp parallel for collapse(2) schedule(static) num_threads(threads)
    for (I n = 0; n < N; n++) for (I c = 0; c < C; c++) {
        const S *p = x + (n*C + c)*L; S *q = y.row(n, c, L); uint8_t *o = positive + (n*C + c)*L;
        if (!r.at) for (I i = 0; i < L; i++) { o[i] = p[i] > 0; q[i] = above_0(p[i]); }
        else { const S *f = r.row(n, c, L); for (I i = 0; i < L; i++) { o[i] = p[i] > 0; q[i] = above_0(above_0(p[i]) + f[i]); } }
    }
}

template<class S> static void join_backward(I N, I C, I L, Rows<const S> g, Rows<const S> y, const uint8_t *positive, S *gx, Rows<S> gr, int threads) {
    #pragma omp parallel for collapse(2) schedule(static) num_threads(threads)
    for (I n = 0; n < N; n++) for (I c = 0; c < C; c++) {
        const S *p = g.row(n, c, L), *q = y.row(n, c, L); S *k = gx + (n*C + c)*L; const uint8_t *o = positive + (n*C + c)*L;
        if (!gr.at) for (I i = 0; i < L; i++) k[i] = o[i] ? p[i] : 0;
        else { S *f = gr.row(n, c, L); for (I i = 0; i < L; i++) { S d = q[i] > 0 ? p[i] : 0; f[i] = d; k[i] = o[i] ? d : 0; } }
    }
}

// ---- channel-specific graphs ----------------------------------------------------------------------------------------
template<class S> static void context(I N, I O, I V, const S *p, const S *a, S *R, int threads) {
    #pragma omp parallel for schedule(static) num_threads(threads)
    for (I n = 0; n < N; n++) {
        S *r = R + n*V*V; std::memset(r, 0, sizeof(S)*V*V);
        for (I o = 0; o < O; o++) for (I u = 0; u < V; u++) {
            const S *q = p + (n*O + o)*V; S here = q[u], weight = a[o];
            #pragma omp simd
            for (I v = 0; v < V; v++) r[u*V + v] += weight/(1 + exponential(q[v] - here));
        }
    }
}

template<class S> static void context_backward(I N, I O, I V, const S *g, const S *p, const S *a, S *gp, S *ga, int threads) {
    #pragma omp parallel for schedule(static) num_threads(threads)
    for (I n = 0; n < N; n++) for (I o = 0; o < O; o++) {
        const S *q = p + (n*O + o)*V, *f = g + n*V*V; S *k = gp + (n*O + o)*V, all = 0;
        for (I v = 0; v < V; v++) k[v] = 0;
        for (I u = 0; u < V; u++) {
            S here = q[u], sum = 0;
            #pragma omp simd reduction(+:sum,all)
            for (I v = 0; v < V; v++) {
                S s = 1/(1 + exponential(q[v] - here)), d = f[u*V + v]*s*(1 - s);
                all += f[u*V + v]*s; sum += d; k[v] -= d;
            }
            k[u] += sum;
        }
        for (I v = 0; v < V; v++) k[v] *= a[o];
        ga[n*O + o] = all;
    }
}

// ---- mixing of joints: y = gate sum_k p_k F_k + e, F by class of the channel -----------------------------------------
// V columns are padded to B vectors of 32 bytes; R rows go together, as many as leave the sums in registers.
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

template<class S, int B, int R> static inline void outer(I V, I T, const S *p, const S *g, S *gf) {
    constexpr int l = Vector<S>::width;          // gf[u] += sum_t p[t, u] g[t], for R joints u
    typename Vector<S>::of sum[R][B];
    for (int r = 0; r < R; r++) for (int j = 0; j < B; j++) sum[r][j] = *(typename Vector<S>::of*)(gf + (r*B + j)*l);
    times<S, B, R>(T, p, 1, V, g, sum);
    for (int r = 0; r < R; r++) for (int j = 0; j < B; j++) *(typename Vector<S>::of*)(gf + (r*B + j)*l) = sum[r][j];
}

template<class S, int B> static void mix(I N, I O, I T, I V, I classes, const S *p, const S *F, I apart, const I *order, const I *start,
                                         const S *gate, const S *e, S *y, int threads) {
    constexpr int W = B*Vector<S>::width;
    #pragma omp parallel for collapse(2) schedule(static) num_threads(threads)
    for (I n = 0; n < N; n++) for (I l = 0; l < classes; l++) {
        S f[3*W*W], constant[W];
        for (int k = 0; k < 3; k++) padded(V, W, F + k*apart + (n*classes + l)*V*V, f + k*V*W, false);
        for (I i = start[l]; i < start[l + 1]; i++) {
            I o = order[i];
            for (I v = 0; v < W; v++) constant[v] = v < V ? e[(n*O + o)*V + v] : 0;
            mix_frames<S, B>(3, V, T, O*T*V, p + (n*3*O + o)*T*V, f, y + (n*O + o)*T*V, gate[n*O + o], constant);
        }
    }
}

template<class S, int B> static void mix_backward(I N, I O, I T, I V, I classes, const S *gy, const S *y, const S *p, const S *F, I apart,
                                                  const I *order, const I *start, const S *gate, const S *e, S *gp, S *gF, S *ggate, S *ge, int threads) {
    constexpr int W = B*Vector<S>::width;
    #pragma omp parallel for collapse(2) schedule(static) num_threads(threads)
    for (I n = 0; n < N; n++) for (I l = 0; l < classes; l++) {
        S turned[3*W*W], gf[3*W*W], nothing[W] = {}, sum[W];
        std::vector<S> gz(T*W);
        for (int k = 0; k < 3; k++) padded(V, W, F + k*apart + (n*classes + l)*V*V, turned + k*V*W, true);
        std::memset(gf, 0, sizeof gf);
        for (I i = start[l]; i < start[l + 1]; i++) {
            I at = n*O + order[i]; const S *a = gy + at*T*V, *b = y + at*T*V; S scale = gate[at], all = 0;
            std::memset(sum, 0, sizeof sum);
            for (I t = 0; t < T; t++) for (I v = 0; v < V; v++) { sum[v] += a[t*V + v]; gz[t*W + v] = a[t*V + v]*scale; }
            #pragma omp simd reduction(+:all)
            for (I j = 0; j < T*V; j++) all += a[j]*b[j];
            for (I v = 0; v < V; v++) { ge[at*V + v] = sum[v]; all -= e[at*V + v]*sum[v]; }
            ggate[at] = all/scale;               // y = gate z + e, and gate is never 0
            for (int k = 0; k < 3; k++) {
                const S *q = p + ((n*3 + k)*O + order[i])*T*V;
                I u = 0;
                for (; u + 3 <= V; u += 3) outer<S, B, 3>(V, T, q + u, gz.data(), gf + (k*V + u)*W);
                for (; u < V; u++) outer<S, B, 1>(V, T, q + u, gz.data(), gf + (k*V + u)*W);
                mix_frames<S, B>(1, V, T, 0, a, turned + k*V*W, gp + ((n*3 + k)*O + order[i])*T*V, scale, nothing);
            }
        }
        for (int k = 0; k < 3; k++) for (I u = 0; u < V; u++) for (I v = 0; v < V; v++) gF[k*apart + ((n*classes + l)*V + u)*V + v] = gf[(k*V + u)*W + v];
    }
}

#define FOR_B(f, b, ...) case b: return f<S, b*32/sizeof(S) <= 32 ? b : 1>(__VA_ARGS__);      // V up to 32
#define VECTORS(f, ...) switch ((V*sizeof(S) + 31)/32) { FOR_B(f, 1, __VA_ARGS__) FOR_B(f, 2, __VA_ARGS__) FOR_B(f, 3, __VA_ARGS__) FOR_B(f, 4, __VA_ARGS__) \
    FOR_B(f, 5, __VA_ARGS__) FOR_B(f, 6, __VA_ARGS__) FOR_B(f, 7, __VA_ARGS__) FOR_B(f, 8, __VA_ARGS__) }

template<class S> static void any_mix(I N, I O, I T, I V, I classes, const S *p, const S *F, I apart, const I *order, const I *start, const S *gate, const S *e, S *y, int threads) {
    VECTORS(mix, N, O, T, V, classes, p, F, apart, order, start, gate, e, y, threads)
}
template<class S> static void any_mix_backward(I N, I O, I T, I V, I classes, const S *gy, const S *y, const S *p, const S *F, I apart, const I *order, const I *start,
                                               const S *gate, const S *e, S *gp, S *gF, S *ggate, S *ge, int threads) {
    VECTORS(mix_backward, N, O, T, V, classes, gy, y, p, F, apart, order, start, gate, e, gp, gF, ggate, ge, threads)
}

// ---- by name, for each type -----------------------------------------------------------------------------------------
#define FOR(S, s) extern "C" { \
void norm_##s(I N, I C, I L, const S *x, I xs, const S *r, I rs, S *y, const S *w, const S *b, S *m, S *i, S *v, double eps, I relu, I threads) { norm<S>(N, C, L, {x, xs}, {r, rs}, y, w, b, m, i, v, eps, relu, threads); } \
void norm_backward_##s(I N, I C, I L, const S *g, I gs, const S *x, I xs, const S *y, S *gx, I gxs, S *gr, const S *w, const S *m, const S *i, S *gw, S *gb, I relu, I threads) { norm_backward<S>(N, C, L, {g, gs}, {x, xs}, y, {gx, gxs}, gr, w, m, i, gw, gb, relu, threads); } \
void gate_##s(I N, I C, I L, const S *x, S *y, const S *w, const S *b, S *m, S *i, S *v, double eps, I threads) { gate<S>(N, C, L, x, y, w, b, m, i, v, eps, threads); } \
void gate_backward_##s(I N, I C, I L, const S *g, I gs, const S *x, S *gx, const S *w, const S *b, const S *m, const S *i, S *gw, S *gb, I threads) { gate_backward<S>(N, C, L, {g, gs}, x, gx, w, b, m, i, gw, gb, threads); } \
void three_##s(I N, I T, I U, I V, I stride, const S *x, S *y, uint8_t *which, I threads) { three<S>(N, T, U, V, stride, x, y, which, threads); } \
void three_backward_##s(I N, I T, I U, I V, I stride, const S *g, const uint8_t *which, S *gx, I threads) { three_backward<S>(N, T, U, V, stride, g, which, gx, threads); } \
void join_##s(I N, I C, I L, const S *x, const S *r, I rs, S *y, I ys, uint8_t *positive, I threads) { join<S>(N, C, L, x, {r, rs}, {y, ys}, positive, threads); } \
void join_backward_##s(I N, I C, I L, const S *g, I gs, const S *y, I ys, const uint8_t *positive, S *gx, S *gr, I grs, I threads) { join_backward<S>(N, C, L, {g, gs}, {y, ys}, positive, gx, {gr, grs}, threads); } \
void context_##s(I N, I O, I V, const S *p, const S *a, S *R, I threads) { context<S>(N, O, V, p, a, R, threads); } \
void context_backward_##s(I N, I O, I V, const S *g, const S *p, const S *a, S *gp, S *ga, I threads) { context_backward<S>(N, O, V, g, p, a, gp, ga, threads); } \
void mix_##s(I N, I O, I T, I V, I classes, const S *p, const S *F, I apart, const I *order, const I *start, const S *gate, const S *e, S *y, I threads) { any_mix<S>(N, O, T, V, classes, p, F, apart, order, start, gate, e, y, threads); } \
void mix_backward_##s(I N, I O, I T, I V, I classes, const S *gy, const S *y, const S *p, const S *F, I apart, const I *order, const I *start, const S *gate, const S *e, S *gp, S *gF, S *ggate, S *ge, I threads) { any_mix_backward<S>(N, O, T, V, classes, gy, y, p, F, apart, order, start, gate, e, gp, gF, ggate, ge, threads); } }
FOR(float, f32)
FOR(double, f64)
