// A block of MSA-GCN in prediction, BatchNorms folded: see nbs/fast/32_predict.ipynb for what it computes.
// One thread computes a body from the first product to the last: threads do not wait, intermediate results stay in the cache.
#include "vectors.h"

// ---- y (M, L) = w (M, K) x (K, L) + b, columns packed in panels of two vectors ----------------------------------------
template<class S, int R> static inline void tile(I K, const S *w, const S *panel, const S *b, S *y, I L, I left) {
    typedef typename Vector<S>::of Q; constexpr int l = Vector<S>::width; Q sum[R][2];
    for (int r = 0; r < R; r++) sum[r][0] = sum[r][1] = Q{} + b[r];
    for (I k = 0; k < K; k++) {
        Q p = *(const Q*)(panel + 2*k*l), q = *(const Q*)(panel + 2*k*l + l);
        #pragma GCC unroll 8
        for (int r = 0; r < R; r++) { S a = w[r*K + k]; sum[r][0] += a*p; sum[r][1] += a*q; }
    }
    for (int r = 0; r < R; r++)
        if (left >= 2*l) { *(Q*)(y + r*L) = sum[r][0]; *(Q*)(y + r*L + l) = sum[r][1]; }
        else for (I i = 0; i < left; i++) y[r*L + i] = sum[r][i/l][i % l];
}

template<class S> static void product(I M, I K, I L, const S *w, const S *x, const S *b, S *y, S *panels) {
    constexpr I P = 2*Vector<S>::width, G = 4;   // columns of a panel, panels at a time
    for (I at = 0; at < L; at += P*G) {
        for (I g = 0; g < G; g++) for (I k = 0; k < K; k++) {
            S *to = panels + (g*K + k)*P; const S *from = x + k*L + at + g*P; I n = L - at - g*P;
            if (n >= P) for (I i = 0; i < P; i++) to[i] = from[i];
            else for (I i = 0; i < P; i++) to[i] = i < n ? from[i] : 0;
        }
        I m = 0;
        for (; m + 6 <= M; m += 6) for (I g = 0; g < G && at + g*P < L; g++) tile<S, 6>(K, w + m*K, panels + g*K*P, b + m, y + m*L + at + g*P, L, L - at - g*P);
        for (; m + 2 <= M; m += 2) for (I g = 0; g < G && at + g*P < L; g++) tile<S, 2>(K, w + m*K, panels + g*K*P, b + m, y + m*L + at + g*P, L, L - at - g*P);
        for (; m < M; m++) for (I g = 0; g < G && at + g*P < L; g++) tile<S, 1>(K, w + m*K, panels + g*K*P, b + m, y + m*L + at + g*P, L, L - at - g*P);
    }
}

// ---- a block -----------------------------------------------------------------------------------------------------------
enum { PROJECT, PROJECT_BIAS, POOL, POOL_BIAS, OWN, OWN_BIAS, CROSS, CROSS_BIAS, SHARED, GATE, SCALE, SHIFT, PAIRS, PAIRS_BIAS, DOWN, DOWN_BIAS,
       SHORTCUT, SHORTCUT_BIAS, ENTER, ENTER_BIAS, GATED, GATED_BIAS, GATED_4, GATED_4_BIAS, MAX_SCALE, MAX_SHIFT, ATTEND, ATTEND_BIAS, ATTEND_SCALE,
       ATTEND_SHIFT, FRAME, FRAME_SCALE, FRAME_SHIFT, RESIDUAL, RESIDUAL_BIAS, NOTHING };

struct Sizes {
    I C, O, T, U, V, stages, stride, residual, shortcut, cross;    // residual: 0 none, 1 the input, 2 its convolution; shortcut, cross: whether there are weights
    bool agree() const {
        bool positive = C > 0 && O > 0 && T > 0 && stages > 0 && stride > 0;
        return positive && V >= 4 && V <= 32 && O % 10 == 0 && O % stages == 0 && U == (T + stride - 1)/stride && residual >= 0 && residual <= 2
            && (C == O || (shortcut && residual != 1)) && (U == T || residual != 1);
    }
};

template<class S> struct Layout {                // pieces of one array, each at a multiple of 16 elements
    S *base; I used = 0, size = 0;               // without a base the pieces are counted only
    S *take(I n) {
        S *p = base && n ? base + used : nullptr;
        used += (n + 15)/16*16; size = used > size ? used : size;
        return p;
    }
};

template<class S> struct Weights: Layout<const S> {                                  // by the names above; null if the block has none
    const S *at[NOTHING + 1];
    const S *operator[](int name) const { return at[name]; }
    Weights(const Sizes &z, const S *base): Layout<const S>{base} {
        I C = z.C, O = z.O, U = z.U, V = z.V, c = O/5, cut = z.shortcut ? O : 0, out = z.residual == 2 ? O : 0, cross = z.cross ? V : 0, any = 3*O > U ? 3*O : U;
        const I sizes[] = {3*O*C, 3*O, 6*z.stages*C, 6*z.stages, V*V, V, cross*V, cross, 24*V*V, 3, O, O, 2*O*C, 2*O, O*O, O,
            cut*C, cut, O*O, O, 10*c*c, 2*c, 10*c*c, 2*c, c, c, U*U, U, c, c, 3, c, c, out*C, out, any};
        static_assert(sizeof sizes/sizeof(I) == NOTHING + 1);
        for (int i = 0; i <= NOTHING; i++) at[i] = this->take(sizes[i]);
    }
};

template<class S> struct Memory: Layout<S> {     // all that a thread needs
    S *mixed;                                                                        // between the halves of a block
    S *panels, *mean, *maps, *gate, *e, *edge, *pooled, *own, *cross, *projected, *of_channels, *h, *q, *hs, *qs, *distance, *both, *most, *p;
    S *slow_panels, *z, *slow, *strided, *rows, *gates, *judged, *queries, *W, *by_frame, *by_frame_mixed, *frame_mean, *frame_most, *r;
    Memory(const Sizes &s, S *base): Layout<S>{base} {
        I C = s.C, O = s.O, T = s.T, U = s.U, V = s.V, c = O/5, wide = C > O ? C : O, widest = wide > U ? wide : U, panel = 4*2*Vector<S>::width;
        auto take = [this](I n) { return Layout<S>::take(n); };
        mixed = take(O*T*V);
        I half = this->used;                     // the graph convolution's
        panels = take(panel*wide); mean = take(C*V); maps = take(3*s.stages*V*V); gate = take(O); e = take(O*V); edge = take(O*V);
        pooled = take(6*s.stages*V); own = take(6*s.stages*V); cross = take(6*s.stages*V);
        projected = take(3*O*V); of_channels = take(O + 2); h = take(3*s.stages*V); q = take(3*s.stages*V); hs = take(24*V); qs = take(24*V);
        distance = take(V*V); both = take(2*O*V); most = take(O*V); p = take(3*O*T*V);
        this->used = half;                       // the temporal convolution's, in the same place
        slow_panels = take(panel*widest); z = take(3*c*T*V); slow = take(2*c*U*V); strided = take(wide*U*V);
        I branch = this->used;
        rows = take(5*c*U*V); gates = take(2*c*U*V);
        this->used = branch;
        judged = take(2*U); queries = take(2*U); W = take(U*U); by_frame = take(U*c*V); by_frame_mixed = take(U*c*V);
        this->used = branch;
        frame_mean = take(U); frame_most = take(U); r = take(O*U*V);
    }
};

template<class S> struct Block: Sizes {
    Weights<S> w; Memory<S> m;
    Block(const Sizes &sizes, const S *weights, S *memory): Sizes(sizes), w(sizes, weights), m(sizes, memory) {}

    void mean_over_frames(const S *x, S *mean) const {
        for (I c = 0; c < C; c++) {
            S *m = mean + c*V; for (I v = 0; v < V; v++) m[v] = 0;
            for (I t = 0; t < T; t++) for (I v = 0; v < V; v++) m[v] += x[(c*T + t)*V + v];
            for (I v = 0; v < V; v++) m[v] /= T;
        }
    }

    void linear(I rows, const S *z, const S *turned, const S *b, S *y) const {       // y = relu(z W + b), rows of V
        for (I i = 0; i < rows; i++) {
            S *to = y + i*V; for (I v = 0; v < V; v++) to[v] = b[v];
            for (I u = 0; u < V; u++) { S a = z[i*V + u]; for (I v = 0; v < V; v++) to[v] += a*turned[u*V + v]; }
            for (I v = 0; v < V; v++) to[v] = above_0(to[v]);
        }
    }

    void outer_softmax(const S *q, const S *k, S share, S *one, S *other) const {    // is added to one map, or to two
        S e[32];
        for (I u = 0; u < V; u++) {
            for (I v = 0; v < V; v++) e[v] = q[u]*k[v];                              // rounded before anything is taken away
            S top = e[0], sum = 0;
            for (I v = 1; v < V; v++) top = e[v] > top ? e[v] : top;
            for (I v = 0; v < V; v++) e[v] = exponential(e[v] - top);
            for (I v = 0; v < V; v++) sum += e[v];
            for (I v = 0; v < V; v++) { S add = share*e[v]/sum; one[u*V + v] += add; if (other) other[u*V + v] += add; }
        }
    }

    void attention(const S *mean, S *maps, S *panels) {                              // (3, stages, V, V)
        I rows = 6*stages; S *pooled = m.pooled, *own = m.own, *cross = m.cross;
        product(rows, C, V, w[POOL], mean, w[POOL_BIAS], pooled, panels);
        std::memset(maps, 0, sizeof(S)*3*stages*V*V);
        linear(rows, pooled, w[OWN], w[OWN_BIAS], own);
        if (w[CROSS]) linear(rows, pooled, w[CROSS], w[CROSS_BIAS], cross);
        for (I i = 0; i < 3*stages; i++) {
            outer_softmax(own + 2*i*V, own + (2*i + 1)*V, S(.5), maps + i*V*V, (S*)nullptr);
            if (w[CROSS] && i % stages < stages - 1) outer_softmax(cross + (2*i + 1)*V, cross + 2*(i + 1)*V, S(.25), maps + i*V*V, maps + (i + 1)*V*V);
        }
    }

    void sums(const S *F, S half, S *rows, S *columns) const {                       // of a V × V matrix: over u, and the mean over v
        for (I v = 0; v < V; v++) rows[v] = 0;
        for (I u = 0; u < V; u++) { S all = 0; for (I v = 0; v < V; v++) { rows[v] += half*F[u*V + v]; all += F[u*V + v]; } columns[u] = half*all/V; }
    }

    void gate_and_bias(const S *mean, const S *maps, S *gate, S *e, S *panels) {     // (O,), (O, V): before the edges
        S *P = m.projected, *pooled = m.of_channels + 1, *h = m.h, *q = m.q, *hs = m.hs, *qs = m.qs;
        product(3*O, C, V, w[PROJECT], mean, w[NOTHING], P, panels);
        for (I i = 0; i < 3*stages; i++) sums(maps + i*V*V, S(.5), h + i*V, q + i*V);
        for (I i = 0; i < 24; i++) sums(w[SHARED] + i*V*V, S(1), hs + i*V, qs + i*V);
        for (I o = 0; o < O; o++) {
            S all = 0; S *to = e + o*V; for (I v = 0; v < V; v++) to[v] = 0;
            for (I k = 0; k < 3; k++) {
                I a = (k*stages + o/(O/stages))*V, b = (k*8 + o % 8)*V; S weight = w[PROJECT_BIAS][k*O + o]; const S *p = P + (k*O + o)*V;
                for (I v = 0; v < V; v++) { to[v] += weight*(h[a + v] + hs[b + v]); all += p[v]*(q[a + v] + qs[b + v]); }
            }
            S sum = 0; for (I v = 0; v < V; v++) sum += to[v];
            pooled[o] = all + sum/V;
        }
        pooled[-1] = pooled[O] = 0;
        for (I o = 0; o < O; o++) gate[o] = 1 + sigmoid(w[GATE][0]*pooled[o - 1] + w[GATE][1]*pooled[o] + w[GATE][2]*pooled[o + 1]);
    }

    void edges(const S *mean, S *y, S *panels) {                                     // (O, V)
        const I K = V < 5 ? V : 5; I near[32*5]; S *distance = m.distance, *both = m.both, *most = m.most, square[32] = {};
        std::memset(distance, 0, sizeof(S)*V*V);
        for (I c = 0; c < C; c++) for (I u = 0; u < V; u++) {
            S a = mean[c*V + u]; square[u] += a*a;
            for (I v = 0; v < V; v++) distance[u*V + v] += a*mean[c*V + v];
        }
        for (I u = 0; u < V; u++) {
            S d[32]; for (I v = 0; v < V; v++) d[v] = square[u] + square[v] - 2*distance[u*V + v];
            for (I j = 0; j < K; j++) { I best = 0; for (I v = 1; v < V; v++) if (d[v] < d[best]) best = v; near[u*K + j] = best; d[best] = INFINITY; }
        }
        product(2*O, C, V, w[PAIRS], mean, w[PAIRS_BIAS], both, panels);
        for (I o = 0; o < O; o++) for (I v = 0; v < V; v++) {
            const S *other = both + o*V; S top = other[near[v*K]];
            for (I j = 1; j < K; j++) top = other[near[v*K + j]] > top ? other[near[v*K + j]] : top;
            top += both[(O + o)*V + v]; most[o*V + v] = top > 0 ? top : S(.2)*top;
        }
        product(O, O, V, w[DOWN], most, w[DOWN_BIAS], y, panels);
    }

    template<int B> void graph(const S *x, S *y) {                                   // (C, T, V) -> (O, T, V)
        constexpr int W = B*Vector<S>::width; S f[3*W*W], constant[W] = {};
        S *panels = m.panels, *mean = m.mean, *maps = m.maps, *gate = m.gate, *e = m.e, *edge = m.edge;
        mean_over_frames(x, mean);
        attention(mean, maps, panels);
        gate_and_bias(mean, maps, gate, e, panels);
        edges(mean, edge, panels);
        S *p = m.p;
        product(3*O, C, T*V, w[PROJECT], x, w[NOTHING], p, panels);
        for (I s = 0; s < stages; s++) for (I r = 0; r < 8; r++) {
            for (I k = 0; k < 3; k++) for (I u = 0; u < V; u++) for (I v = 0; v < W; v++)
                f[(k*V + u)*W + v] = v < V ? maps[((k*stages + s)*V + u)*V + v]/2 + w[SHARED][((k*8 + r)*V + u)*V + v] : 0;
            for (I o = s*(O/stages); o < (s + 1)*(O/stages); o++) if (o % 8 == r) {
                S scale = w[SCALE][o];
                for (I v = 0; v < V; v++) constant[v] = (gate[o]*e[o*V + v] + edge[o*V + v])*scale + w[SHIFT][o];
                mix_frames<S, B>(3, V, T, O*T*V, p + o*T*V, f, y + o*T*V, gate[o]*scale, constant);
            }
        }
        const S *add = x;
        if (w[SHORTCUT]) { product(O, C, T*V, w[SHORTCUT], x, w[SHORTCUT_BIAS], p, panels); add = p; }
        for (I i = 0; i < O*T*V; i++) y[i] = above_0(y[i] + add[i]);
    }

    void subsample(I channels, const S *x, S *y) const { for (I c = 0; c < channels; c++) for (I u = 0; u < U; u++) std::memcpy(y + (c*U + u)*V, x + (c*T + u*stride)*V, sizeof(S)*V); }

    void gate_frames_apart(I c, I apart, const S *x, const S *weight, const S *b, S *y, S *panels) {     // five frames so far apart, gated
        S *rows = m.rows, *z = m.gates;
        for (I i = 0; i < c; i++) for (I j = 0; j < 5; j++) for (I u = 0; u < U; u++) {
            I t = u*stride + (j - 2)*apart; S *to = rows + ((i*5 + j)*U + u)*V;
            if (t < 0 || t >= T) std::memset(to, 0, sizeof(S)*V); else std::memcpy(to, x + (i*T + t)*V, sizeof(S)*V);
        }
        product(2*c, 5*c, U*V, weight, rows, b, z, panels);
        for (I i = 0; i < c*U*V; i++) y[i] = gated(z[i]) + gated(z[c*U*V + i]);
    }

    void largest_of_three(I c, const S *x, S *y) const {
        for (I i = 0; i < c; i++) for (I u = 0; u < U; u++) {
            I t = u*stride; const S *p = x + (i*T + t)*V, *before = t ? p - V : p, *after = t < T - 1 ? p + V : p; S *q = y + (i*U + u)*V;
            for (I v = 0; v < V; v++) { S m = before[v] > p[v] ? before[v] : p[v]; m = after[v] > m ? after[v] : m; q[v] = m*w[MAX_SCALE][i] + w[MAX_SHIFT][i]; }
        }
    }

    void judge(I from, I to, const S *x, S *mean, S *most) const {                   // frames by channels from..to: mean or maximum, where asked for
        for (I u = 0; u < U; u++) {
            S sum = 0, top = -INFINITY;
            for (I c = from; c < to; c++) for (I v = 0; v < V; v++) { S z = x[(c*U + u)*V + v]; sum += z; top = z > top ? z : top; }
            if (mean) mean[u] = sum/((to - from)*V);
            if (most) most[u] = top;
        }
    }

    void attend(I c, const S *x, S *y, S *panels) {
        S *z = m.judged, *q = m.queries, *W = m.W, *turned = m.by_frame, *mixed = m.by_frame_mixed;
        judge(0, c/2, x, z, nullptr); judge(c/2, c, x, nullptr, z + U);
        for (I i = 0; i < 2; i++) for (I u = 0; u < U; u++) {
            S sum = w[ATTEND_BIAS][u]; for (I t = 0; t < U; t++) sum += w[ATTEND][u*U + t]*z[i*U + t];
            q[i*U + u] = above_0(sum);
        }
        for (I u = 0; u < U; u++) for (I t = 0; t < U; t++) W[u*U + t] = sigmoid(q[t]*q[U + u]);
        for (I i = 0; i < c; i++) for (I u = 0; u < U; u++) std::memcpy(turned + (u*c + i)*V, x + (i*U + u)*V, sizeof(S)*V);
        product(U, U, c*V, W, turned, w[NOTHING], mixed, panels);
        for (I i = 0; i < c; i++) for (I u = 0; u < U; u++) for (I v = 0; v < V; v++) y[(i*U + u)*V + v] = mixed[(u*c + i)*V + v]*w[ATTEND_SCALE][i] + w[ATTEND_SHIFT][i];
    }

    void gate_frames(I c, const S *x, S *y) {
        S *mean = m.frame_mean, *most = m.frame_most;
        judge(0, c, x, mean, most);
        for (I u = 0; u < U; u++) {
            S s = sigmoid(w[FRAME][0]*mean[u] + w[FRAME][1]*most[u] + w[FRAME][2]);
            for (I i = 0; i < c; i++) for (I v = 0; v < V; v++) y[(i*U + u)*V + v] = x[(i*U + u)*V + v]*s*w[FRAME_SCALE][i] + w[FRAME_SHIFT][i];
        }
    }

    void temporal(const S *x, const S *input, S *y) {                                // (O, T, V), the block's input -> (O, U, V)
        I c = O/5; S *panels = m.slow_panels, *z = m.z, *slow = m.slow, *strided = m.strided;
        product(3*c, O, T*V, w[ENTER], x, w[ENTER_BIAS], z, panels);
        if (stride > 1) { subsample(O, x, strided); x = strided; }
        product(2*c, O, U*V, w[ENTER] + 3*c*O, x, w[ENTER_BIAS] + 3*c, slow, panels);
        for (I i = 0; i < 3*c*T*V; i++) z[i] = above_0(z[i]);
        gate_frames_apart(c, 2, z, w[GATED], w[GATED_BIAS], y, panels);
        gate_frames_apart(c, 4, z + c*T*V, w[GATED_4], w[GATED_4_BIAS], y + c*U*V, panels);
        largest_of_three(c, z + 2*c*T*V, y + 2*c*U*V);
        attend(c, slow, y + 3*c*U*V, panels);
        gate_frames(c, slow + c*U*V, y + 4*c*U*V);
        if (residual == 2) {
            S *r = m.r;
            if (stride > 1) { subsample(C, input, strided); input = strided; }
            product(O, C, U*V, w[RESIDUAL], input, w[RESIDUAL_BIAS], r, panels); input = r;
        }
        if (residual) for (I i = 0; i < O*U*V; i++) y[i] = above_0(above_0(y[i]) + input[i]);
        else for (I i = 0; i < O*U*V; i++) y[i] = above_0(y[i]);
    }
};

template<class S, int B> static int block(I N, const Sizes &z, const S *w, const S *x, S *y, int threads) {
    const I C = z.C, O = z.O, T = z.T, U = z.U, V = z.V, room = Memory<S>(z, nullptr).size;
    int status = DONE;
    #pragma omp parallel for schedule(static) num_threads(threads)
    for (I n = 0; n < N; n++) caught(status, [&] {
        static thread_local std::vector<S> memory;                                   // stays: fresh pages take longer than the sums in them
        if ((I)memory.size() < room) memory.resize(room);
        Block<S> b(z, w, memory.data());
        b.template graph<B>(x + n*C*T*V, b.m.mixed);
        b.temporal(b.m.mixed, x + n*C*T*V, y + n*O*U*V);
    });
    return status;
}
template<class S> static int any_block(I N, const Sizes &z, const S *w, I count, const S *x, S *y, int threads) {
    if (!z.agree()) return SIZES;
    if (count != Weights<S>(z, nullptr).size) return WEIGHTS;
    const I V = z.V;
    VECTORS(block, N, z, w, x, y, threads)
    return SIZES;
}

// ---- by name, for each type: sizes are the ten numbers of `Sizes`; 0 elements if they do not agree ---------------------
#define FOR(S, s) extern "C" { \
I weights_##s(const Sizes *z) { return z->agree() ? Weights<S>(*z, nullptr).size : 0; }      /* elements of all weights */ \
I scratch_##s(const Sizes *z) { return z->agree() ? Memory<S>(*z, nullptr).size : 0; }       /* elements that a thread needs */ \
int block_##s(I N, const Sizes *z, const S *w, I count, const S *x, S *y, I threads) { return any_block<S>(N, *z, w, count, x, y, threads); } }
FOR(float, f32)
FOR(double, f64)
