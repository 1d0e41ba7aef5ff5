// MSA-GCN's training on a CPU: see nbs/fast/10_cpp_frames.ipynb, 11_cpp_graphs.ipynb and 12_cpp_norm.ipynb for functions and arguments.
// Tensors are (N, C, L), contiguous but for the first stride, which is given beside the pointer. Each sum is computed by
// one thread in a fixed order: the number of threads does not change the result.
#include "vectors.h"

template<class S> struct Rows { S *at; I step; S *row(I n, I c, I L) const { return at + n*step + c*L; } };

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
                                            const S *w, const S *b, const S *centre, const S *inverse, S *gw, S *gb, bool relu, int threads) {
    #pragma omp parallel for schedule(static) num_threads(threads)
    for (I c = 0; c < C; c++) {
        double s = 0, t = 0, inv = inverse[c], M = (double)N*L; S m = centre[c], slope = w[c]*inverse[c], at_0 = b[c] - m*slope;
        for (I n = 0; n < N; n++) {
            const S *p = g.row(n, c, L), *q = x.row(n, c, L), *o = y + (n*C + c)*L; S u = 0, v = 0;
            if (relu && y) {
                #pragma omp simd reduction(+:u,v)
                for (I i = 0; i < L; i++) { S d = o[i] > 0 ? p[i] : 0; u += d; v += d*(q[i] - m); }
            } else if (relu) {                   // without y nothing was added
                #pragma omp simd reduction(+:u,v)
                for (I i = 0; i < L; i++) { S d = q[i]*slope + at_0 > 0 ? p[i] : 0; u += d; v += d*(q[i] - m); }
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
                for (I i = 0; i < L; i++) k[i] = (q[i]*slope + at_0 > 0 ? p[i] : 0)*a + q[i]*e + h;
            } else {
                #pragma omp simd
                for (I i = 0; i < L; i++) k[i] = p[i]*a + q[i]*e + h;
            }
        }
    }
}

// ---- BatchNorm of each joint's channels by themselves: (N, M, C, T, V), features (M, V, C) -----------------------------
template<class S> static int norm_joints(I N, I M, I C, I T, I V, const S *x, S *y, const S *w, const S *b, S *centre, S *inverse, S *var, double eps, int threads) {
    int status = DONE;
    #pragma omp parallel for collapse(2) schedule(static) num_threads(threads)
    for (I m = 0; m < M; m++) for (I c = 0; c < C; c++) caught(status, [&] {
        std::vector<double> sum(V, 0), square(V, 0); std::vector<S> a(V), h(V), part(V), mean(V); double count = (double)N*T;
        auto rows = [&](auto step) { for (I n = 0; n < N; n++) step(((n*M + m)*C + c)*T*V); };
        auto gather = [&](std::vector<double> &to, auto term) { rows([&](I at) {
            for (I v = 0; v < V; v++) part[v] = 0;
            for (I t = 0; t < T; t++) for (I v = 0; v < V; v++) part[v] += term(x[at + t*V + v], v);
            for (I v = 0; v < V; v++) to[v] += part[v];
        }); };
        gather(sum, [](S z, I) { return z; });
        for (I v = 0; v < V; v++) mean[v] = sum[v]/count;
        gather(square, [&](S z, I v) { return (z - mean[v])*(z - mean[v]); });
        for (I v = 0; v < V; v++) {
            I f = (m*V + v)*C + c;
            centre[f] = mean[v]; inverse[f] = 1/std::sqrt(square[v]/count + eps); var[f] = square[v]/(count > 1 ? count - 1 : 1);
            a[v] = w[f]*inverse[f]; h[v] = b[f] - mean[v]*a[v];
        }
        rows([&](I at) { for (I t = 0; t < T; t++) for (I v = 0; v < V; v++) y[at + t*V + v] = x[at + t*V + v]*a[v] + h[v]; });
    });
    return status;
}

template<class S> static int norm_joints_backward(I N, I M, I C, I T, I V, const S *g, const S *x, S *gx, const S *w, const S *centre, const S *inverse, S *gw, S *gb, int threads) {
    int status = DONE;
    #pragma omp parallel for collapse(2) schedule(static) num_threads(threads)
    for (I m = 0; m < M; m++) for (I c = 0; c < C; c++) caught(status, [&] {
        std::vector<double> s(V, 0), t(V, 0); std::vector<S> u(V), v_(V), mean(V), a(V), e(V), h(V); double count = (double)N*T;
        for (I v = 0; v < V; v++) mean[v] = centre[(m*V + v)*C + c];
        for (I n = 0; n < N; n++) {
            I at = ((n*M + m)*C + c)*T*V;
            for (I v = 0; v < V; v++) u[v] = v_[v] = 0;
            for (I i = 0; i < T*V; i += V) for (I v = 0; v < V; v++) { u[v] += g[at + i + v]; v_[v] += g[at + i + v]*(x[at + i + v] - mean[v]); }
            for (I v = 0; v < V; v++) { s[v] += u[v]; t[v] += v_[v]; }
        }
        for (I v = 0; v < V; v++) {
            I f = (m*V + v)*C + c; double inv = inverse[f];
            gb[f] = s[v]; gw[f] = t[v]*inv;
            a[v] = w[f]*inv; e[v] = -w[f]*inv*inv*inv*t[v]/count; h[v] = -w[f]*inv*s[v]/count - e[v]*mean[v];
        }
        for (I n = 0; n < N; n++) {
            I at = ((n*M + m)*C + c)*T*V;
            for (I i = 0; i < T*V; i += V) for (I v = 0; v < V; v++) gx[at + i + v] = g[at + i + v]*a[v] + x[at + i + v]*e[v] + h[v];
        }
    });
    return status;
}

// ---- gate behind a BatchNorm ----------------------------------------------------------------------------------------
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
            for (I i = 0; i < L; i++) o[i] = gated(p[i]*a[0] + h[0]) + gated(q[i]*a[1] + h[1]);
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

// ---- channel-specific graphs: sigmoid(p_u - p_v) = E_u/(E_u + E_v), E = exp(p - the middle of p) ----------------------
template<class S> struct Sigmoids {
    I V; const S *p; bool wide; std::vector<S> E;
    Sigmoids(I V, const S *p): V(V), p(p), E(V) {
        S low = p[0], high = p[0];
        for (I v = 1; v < V; v++) { low = p[v] < low ? p[v] : low; high = p[v] > high ? p[v] : high; }
        wide = !(high - low < (sizeof(S) == 4 ? 160 : 640));     // too far apart for E
        if (!wide) for (I v = 0; v < V; v++) E[v] = exponential(p[v] - (low + (high - low)/2));
    }
    void row(I u, S *to) const {
        const S *e = E.data();
        if (wide) for (I v = 0; v < V; v++) to[v] = 1/(1 + exponential(p[v] - p[u]));
        else for (I v = 0; v < V; v++) to[v] = e[u]/(e[u] + e[v]);
    }
};

template<class S> static int context(I N, I O, I V, const S *p, const S *a, S *R, int threads) {
    int status = DONE;
    #pragma omp parallel for schedule(static) num_threads(threads)
    for (I n = 0; n < N; n++) caught(status, [&] {
        std::vector<S> s(V); S *r = R + n*V*V; std::memset(r, 0, sizeof(S)*V*V);
        for (I o = 0; o < O; o++) {
            Sigmoids<S> all(V, p + (n*O + o)*V); S weight = a[o];
            for (I u = 0; u < V; u++) { all.row(u, s.data()); for (I v = 0; v < V; v++) r[u*V + v] += weight*s[v]; }
        }
    });
    return status;
}

template<class S> static int context_backward(I N, I O, I V, const S *g, const S *p, const S *a, S *gp, S *ga, int threads) {
    int status = DONE;
    #pragma omp parallel for schedule(static) num_threads(threads)
    for (I n = 0; n < N; n++) caught(status, [&] {
        std::vector<S> row(V);
        for (I o = 0; o < O; o++) {
            const S *f = g + n*V*V, *s = row.data(); S *k = gp + (n*O + o)*V, all = 0; Sigmoids<S> sigmoids(V, p + (n*O + o)*V);
            for (I v = 0; v < V; v++) k[v] = 0;
            for (I u = 0; u < V; u++) {
                sigmoids.row(u, row.data());
                S sum = 0;
                #pragma omp simd reduction(+:sum,all)
                for (I v = 0; v < V; v++) {
                    S d = f[u*V + v]*s[v]*(1 - s[v]);
                    all += f[u*V + v]*s[v]; sum += d; k[v] -= d;
                }
                k[u] += sum;
            }
            for (I v = 0; v < V; v++) k[v] *= a[o];
            ga[n*O + o] = all;
        }
    });
    return status;
}

// ---- one tensor for several readers: its mean over frames on the way, the sum of their gradients on the way back ------
template<class S> static void shared(I N, I C, I T, I V, Rows<const S> x, S *mean, int threads) {
    #pragma omp parallel for collapse(2) schedule(static) num_threads(threads)
    for (I n = 0; n < N; n++) for (I c = 0; c < C; c++) {
        const S *p = x.row(n, c, T*V); S *m = mean + (n*C + c)*V;
        for (I v = 0; v < V; v++) m[v] = 0;
        for (I t = 0; t < T; t++) for (I v = 0; v < V; v++) m[v] += p[t*V + v];
        for (I v = 0; v < V; v++) m[v] /= T;
    }
}

template<class S> static void shared_backward(I N, I C, I T, I V, Rows<const S> a, Rows<const S> b, Rows<const S> d, const S *mean, S *gx, int threads) {
    #pragma omp parallel for collapse(2) schedule(static) num_threads(threads)
    for (I n = 0; n < N; n++) for (I c = 0; c < C; c++) {
        S *k = gx + (n*C + c)*T*V;
        for (I t = 0; t < T; t++) for (I v = 0; v < V; v++) k[t*V + v] = mean[(n*C + c)*V + v]/T;
        for (const Rows<const S> &g : {a, b, d}) if (g.at) { const S *p = g.row(n, c, T*V); for (I i = 0; i < T*V; i++) k[i] += p[i]; }
    }
}

// ---- what is constant along T: e = sum_k b_k H_k, pooled = sum_k,v P_k Q_k, H and Q by class of the channel ----------
template<class S> static void constant(I N, I O, I V, I classes, const S *b, const S *P, const S *H, const S *Q, const I *of, S *e, S *pooled, int threads) {
    #pragma omp parallel for schedule(static) num_threads(threads)
    for (I n = 0; n < N; n++) for (I o = 0; o < O; o++) {
        S *to = e + (n*O + o)*V, all = 0;
        for (I v = 0; v < V; v++) to[v] = 0;
        for (I k = 0; k < 3; k++) {
            I at = ((k*N + n)*classes + of[o])*V; const S *p = P + ((n*3 + k)*O + o)*V;
            #pragma omp simd reduction(+:all)
            for (I v = 0; v < V; v++) { to[v] += b[k*O + o]*H[at + v]; all += p[v]*Q[at + v]; }
        }
        pooled[n*O + o] = all;
    }
}

template<class S> static void constant_backward(I N, I O, I V, I classes, const S *ge, const S *gpooled, const S *b, const S *P, const S *H, const S *Q,
                                                const I *of, S *gb, S *gP, S *gH, S *gQ, int threads) {
    #pragma omp parallel for schedule(static) num_threads(threads)
    for (I n = 0; n < N; n++) {
        for (I k = 0; k < 3; k++) for (S *to : {gH, gQ}) std::memset(to + (k*N + n)*classes*V, 0, sizeof(S)*classes*V);
        for (I k = 0; k < 3; k++) for (I o = 0; o < O; o++) {
            I at = ((k*N + n)*classes + of[o])*V, here = ((n*3 + k)*O + o)*V; const S *g = ge + (n*O + o)*V; S scale = gpooled[n*O + o], weight = b[k*O + o], all = 0;
            #pragma omp simd reduction(+:all)
            for (I v = 0; v < V; v++) {
                all += g[v]*H[at + v]; gH[at + v] += weight*g[v];
                gP[here + v] = scale*Q[at + v]; gQ[at + v] += scale*P[here + v];
            }
            gb[(n*3 + k)*O + o] = all;
        }
    }
}

// ---- pairs of joints, and the strongest of K; of equal ones each has its share of the gradient ------------------------
template<class S> static void pairs(I N, I O, I V, I K, const S *both, const I *near, S *y, int threads) {
    #pragma omp parallel for schedule(static) num_threads(threads)
    for (I n = 0; n < N; n++) for (I o = 0; o < O; o++) {
        const S *p = both + (n*2*O + o)*V, *q = p + O*V; S *to = y + (n*O + o)*V*K;
        for (I v = 0; v < V; v++) for (I j = 0; j < K; j++) to[v*K + j] = p[near[(n*V + v)*K + j]] + q[v];
    }
}

template<class S> static void pairs_backward(I N, I O, I V, I K, const S *g, const I *near, S *gboth, int threads) {
    #pragma omp parallel for schedule(static) num_threads(threads)
    for (I n = 0; n < N; n++) for (I o = 0; o < O; o++) {
        const S *p = g + (n*O + o)*V*K; S *a = gboth + (n*2*O + o)*V, *b = a + O*V;
        for (I v = 0; v < V; v++) a[v] = 0;
        for (I v = 0; v < V; v++) { S sum = 0; for (I j = 0; j < K; j++) { sum += p[v*K + j]; a[near[(n*V + v)*K + j]] += p[v*K + j]; } b[v] = sum; }
    }
}

template<class S, int fixed> static void strongest(I L, I given, const S *x, S *y, int threads) {
    const I K = fixed ? fixed : given;
    #pragma omp parallel for schedule(static) num_threads(threads)
    for (I i = 0; i < L; i++) { S m = x[i*K]; for (I j = 1; j < K; j++) m = x[i*K + j] > m ? x[i*K + j] : m; y[i] = m; }
}

template<class S, int fixed> static void strongest_backward(I L, I given, const S *g, const S *x, const S *y, S *gx, int threads) {
    const I K = fixed ? fixed : given;
    #pragma omp parallel for schedule(static) num_threads(threads)
    for (I i = 0; i < L; i++) {
        int equal = 0; for (I j = 0; j < K; j++) equal += x[i*K + j] == y[i];
        for (I j = 0; j < K; j++) gx[i*K + j] = x[i*K + j] == y[i] ? g[i]/equal : 0;
    }
}

// ---- what a frame is judged by: the mean of the channels before `to`, the largest of those from `from` ----------------
template<class S> static int frames(I N, I C, I T, I V, Rows<const S> x, I to, I from, S *mean, S *most, int threads) {
    int status = DONE;
    #pragma omp parallel for schedule(static) num_threads(threads)
    for (I n = 0; n < N; n++) caught(status, [&] {
        std::vector<S> sum(T*V, 0), top(T*V, -INFINITY);
        for (I c = 0; c < C; c++) {
            const S *p = x.row(n, c, T*V); S *a = sum.data(), *b = top.data();
            if (c < to) for (I i = 0; i < T*V; i++) a[i] += p[i];
            if (c >= from) for (I i = 0; i < T*V; i++) b[i] = p[i] > b[i] ? p[i] : b[i];
        }
        for (I t = 0; t < T; t++) {
            S s = 0, m = top[t*V];
            for (I v = 0; v < V; v++) { s += sum[t*V + v]; m = top[t*V + v] > m ? top[t*V + v] : m; }
            mean[n*T + t] = s/(to*V); most[n*T + t] = m;
        }
    });
    return status;
}

template<class S> static int frames_backward(I N, I C, I T, I V, Rows<const S> g, Rows<const S> x, I to, I from, const S *most, const S *gmean, const S *gmost, S *gx, int threads) {
    int status = DONE;
    #pragma omp parallel for schedule(static) num_threads(threads)
    for (I n = 0; n < N; n++) caught(status, [&] {
        std::vector<S> equal(T*V, 0), top(T*V), share(T*V), all(T*V);
        for (I t = 0; t < T; t++) for (I v = 0; v < V; v++) top[t*V + v] = most[n*T + t];
        for (I c = from; c < C; c++) { const S *p = x.row(n, c, T*V); for (I i = 0; i < T*V; i++) equal[i] += p[i] == top[i]; }
        for (I t = 0; t < T; t++) {
            S count = 0; for (I v = 0; v < V; v++) count += equal[t*V + v];
            for (I v = 0; v < V; v++) { share[t*V + v] = gmost[n*T + t]/count; all[t*V + v] = gmean[n*T + t]/(to*V); }
        }
        for (I c = 0; c < C; c++) {
            const S *p = x.row(n, c, T*V), *q = g.row(n, c, T*V), *m = top.data(), *a = share.data(), *b = all.data(); S *k = gx + (n*C + c)*T*V;
            if (c < from) for (I i = 0; i < T*V; i++) k[i] = q[i] + b[i];
            else if (c >= to) for (I i = 0; i < T*V; i++) k[i] = q[i] + (p[i] == m[i] ? a[i] : 0);
            else for (I i = 0; i < T*V; i++) k[i] = q[i] + b[i] + (p[i] == m[i] ? a[i] : 0);
        }
    });
    return status;
}

// ---- mixing of joints: y = gate sum_k p_k F_k + e, F by class of the channel -----------------------------------------
template<class S, int B, int R> static inline void outer(I V, I T, const S *p, const S *g, S *gf) {
    constexpr int l = Vector<S>::width;          // gf[u] += sum_t p[t, u] g[t], for R joints u
    typename Vector<S>::of sum[R][B];
    for (int r = 0; r < R; r++) for (int j = 0; j < B; j++) sum[r][j] = *(typename Vector<S>::of*)(gf + (r*B + j)*l);
    times<S, B, R>(T, p, 1, V, g, sum);
    for (int r = 0; r < R; r++) for (int j = 0; j < B; j++) *(typename Vector<S>::of*)(gf + (r*B + j)*l) = sum[r][j];
}

template<class S, int B> static int mix(I N, I O, I T, I V, I classes, const S *p, const S *F, I apart, const I *order, const I *start,
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
    return DONE;
}

template<class S, int B> static int mix_backward(I N, I O, I T, I V, I classes, const S *gy, const S *y, const S *p, const S *F, I apart,
                                                  const I *order, const I *start, const S *gate, const S *e, S *gp, S *gF, S *ggate, S *ge, int threads) {
    constexpr int W = B*Vector<S>::width;
    int status = DONE;
    #pragma omp parallel for collapse(2) schedule(static) num_threads(threads)
    for (I n = 0; n < N; n++) for (I l = 0; l < classes; l++) caught(status, [&] {
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
    });
    return status;
}

template<class S> static int any_mix(I N, I O, I T, I V, I classes, const S *p, const S *F, I apart, const I *order, const I *start, const S *gate, const S *e, S *y, int threads) {
    VECTORS(mix, N, O, T, V, classes, p, F, apart, order, start, gate, e, y, threads)
    return SIZES;
}
template<class S> static int any_mix_backward(I N, I O, I T, I V, I classes, const S *gy, const S *y, const S *p, const S *F, I apart, const I *order, const I *start,
                                               const S *gate, const S *e, S *gp, S *gF, S *ggate, S *ge, int threads) {
    VECTORS(mix_backward, N, O, T, V, classes, gy, y, p, F, apart, order, start, gate, e, gp, gF, ggate, ge, threads)
    return SIZES;
}

// ---- by name, for each type -----------------------------------------------------------------------------------------
#define FOR(S, s) extern "C" { \
int norm_##s(I N, I C, I L, const S *x, I xs, const S *r, I rs, S *y, const S *w, const S *b, S *m, S *i, S *v, double eps, I relu, I threads) { norm<S>(N, C, L, {x, xs}, {r, rs}, y, w, b, m, i, v, eps, relu, threads); return DONE; } \
int norm_backward_##s(I N, I C, I L, const S *g, I gs, const S *x, I xs, const S *y, S *gx, I gxs, S *gr, const S *w, const S *b, const S *m, const S *i, S *gw, S *gb, I relu, I threads) { norm_backward<S>(N, C, L, {g, gs}, {x, xs}, y, {gx, gxs}, gr, w, b, m, i, gw, gb, relu, threads); return DONE; } \
int norm_joints_##s(I N, I M, I C, I T, I V, const S *x, S *y, const S *w, const S *b, S *m, S *i, S *v, double eps, I threads) { return norm_joints<S>(N, M, C, T, V, x, y, w, b, m, i, v, eps, threads); } \
int norm_joints_backward_##s(I N, I M, I C, I T, I V, const S *g, const S *x, S *gx, const S *w, const S *m, const S *i, S *gw, S *gb, I threads) { return norm_joints_backward<S>(N, M, C, T, V, g, x, gx, w, m, i, gw, gb, threads); } \
int gate_##s(I N, I C, I L, const S *x, S *y, const S *w, const S *b, S *m, S *i, S *v, double eps, I threads) { gate<S>(N, C, L, x, y, w, b, m, i, v, eps, threads); return DONE; } \
int gate_backward_##s(I N, I C, I L, const S *g, I gs, const S *x, S *gx, const S *w, const S *b, const S *m, const S *i, S *gw, S *gb, I threads) { gate_backward<S>(N, C, L, {g, gs}, x, gx, w, b, m, i, gw, gb, threads); return DONE; } \
int three_##s(I N, I T, I U, I V, I stride, const S *x, S *y, uint8_t *which, I threads) { three<S>(N, T, U, V, stride, x, y, which, threads); return DONE; } \
int three_backward_##s(I N, I T, I U, I V, I stride, const S *g, const uint8_t *which, S *gx, I threads) { three_backward<S>(N, T, U, V, stride, g, which, gx, threads); return DONE; } \
int join_##s(I N, I C, I L, const S *x, const S *r, I rs, S *y, I ys, uint8_t *positive, I threads) { join<S>(N, C, L, x, {r, rs}, {y, ys}, positive, threads); return DONE; } \
int join_backward_##s(I N, I C, I L, const S *g, I gs, const S *y, I ys, const uint8_t *positive, S *gx, S *gr, I grs, I threads) { join_backward<S>(N, C, L, {g, gs}, {y, ys}, positive, gx, {gr, grs}, threads); return DONE; } \
int context_##s(I N, I O, I V, const S *p, const S *a, S *R, I threads) { return context<S>(N, O, V, p, a, R, threads); } \
int context_backward_##s(I N, I O, I V, const S *g, const S *p, const S *a, S *gp, S *ga, I threads) { return context_backward<S>(N, O, V, g, p, a, gp, ga, threads); } \
int shared_##s(I N, I C, I T, I V, const S *x, I xs, S *mean, I threads) { shared<S>(N, C, T, V, {x, xs}, mean, threads); return DONE; } \
int shared_backward_##s(I N, I C, I T, I V, const S *a, I as, const S *b, I bs, const S *d, I ds, const S *mean, S *gx, I threads) { shared_backward<S>(N, C, T, V, {a, as}, {b, bs}, {d, ds}, mean, gx, threads); return DONE; } \
int constant_##s(I N, I O, I V, I classes, const S *b, const S *P, const S *H, const S *Q, const I *of, S *e, S *pooled, I threads) { constant<S>(N, O, V, classes, b, P, H, Q, of, e, pooled, threads); return DONE; } \
int constant_backward_##s(I N, I O, I V, I classes, const S *ge, const S *gp, const S *b, const S *P, const S *H, const S *Q, const I *of, S *gb, S *gP, S *gH, S *gQ, I threads) { constant_backward<S>(N, O, V, classes, ge, gp, b, P, H, Q, of, gb, gP, gH, gQ, threads); return DONE; } \
int pairs_##s(I N, I O, I V, I K, const S *both, const I *near, S *y, I threads) { pairs<S>(N, O, V, K, both, near, y, threads); return DONE; } \
int pairs_backward_##s(I N, I O, I V, I K, const S *g, const I *near, S *gboth, I threads) { pairs_backward<S>(N, O, V, K, g, near, gboth, threads); return DONE; } \
int strongest_##s(I L, I K, const S *x, S *y, I threads) { (K == 5 ? strongest<S, 5> : strongest<S, 0>)(L, K, x, y, threads); return DONE; } \
int strongest_backward_##s(I L, I K, const S *g, const S *x, const S *y, S *gx, I threads) { (K == 5 ? strongest_backward<S, 5> : strongest_backward<S, 0>)(L, K, g, x, y, gx, threads); return DONE; } \
int frames_##s(I N, I C, I T, I V, const S *x, I xs, I to, I from, S *mean, S *most, I threads) { return frames<S>(N, C, T, V, {x, xs}, to, from, mean, most, threads); } \
int frames_backward_##s(I N, I C, I T, I V, const S *g, I gs, const S *x, I xs, I to, I from, const S *most, const S *gmean, const S *gmost, S *gx, I threads) { return frames_backward<S>(N, C, T, V, {g, gs}, {x, xs}, to, from, most, gmean, gmost, gx, threads); } \
int mix_##s(I N, I O, I T, I V, I classes, const S *p, const S *F, I apart, const I *order, const I *start, const S *gate, const S *e, S *y, I threads) { return any_mix<S>(N, O, T, V, classes, p, F, apart, order, start, gate, e, y, threads); } \
int mix_backward_##s(I N, I O, I T, I V, I classes, const S *gy, const S *y, const S *p, const S *F, I apart, const I *order, const I *start, const S *gate, const S *e, S *gp, S *gF, S *ggate, S *ge, I threads) { return any_mix_backward<S>(N, O, T, V, classes, gy, y, p, F, apart, order, start, gate, e, gp, gF, ggate, ge, threads); } }
FOR(float, f32)
FOR(double, f64)
