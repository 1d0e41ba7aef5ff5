// NW-UCLA's augmentation, clip by clip: the formulas of nbs/feeds/11_streams.ipynb, in the same order of operations.
#include <limits>
#include "vectors.h"

static inline uint64_t with_key(uint64_t h, I key) {     // of core.keyed_bits
    h += (uint64_t)(key + 1)*0x9e3779b97f4a7c15ull;
    h = (h ^ h >> 30)*0xbf58476d1ce4e5b9ull; h = (h ^ h >> 27)*0x94d049bb133111ebull;
    return h ^ h >> 31;
}
static inline I below(uint64_t h, I n) { return (I)((double)(h >> 11)*0x1p-53*(double)n); }

static void random_frames(I L, I T, uint64_t key, I *frames) {   // Floyd's sampling from an urn with copies of each frame, sorted
    I copies = L*100 < T ? T : 100, i = 0;
    std::vector<uint8_t> taken(L*copies);
    std::vector<I> count(L);
    for (; i < T; i++) {
        I j = L*copies - T + i, d = below(with_key(key, i), j + 1);
        if (taken[d]) d = j;
        taken[d] = 1; count[d/copies]++;
    }
    for (I l = 0; l < L; l++) for (I k = count[l]; k--;) *frames++ = l;
}

extern "C" int rotated_clips(I N, I T, I M, I V, I seed, const float *all, const I *starts, const I *lengths, const I *clips, const I *passes,
                             const float *cosine, const float *sine, float *out, I threads) {   // of -60 to 60 degrees; out (N, 3, T, V, M)
    int status = DONE;
    #pragma omp parallel for schedule(static) num_threads(threads)
    for (I n = 0; n < N; n++) caught(status, [&] {
        I clip = clips[n], L = lengths[clip], P = L*M*V; const float *x = all + starts[clip]*M*V*3;
        uint64_t key = with_key(with_key(with_key(0, seed), passes[n]), clip), turn = with_key(key, 1);
        I a = below(with_key(turn, 0), 121), b = below(with_key(turn, 1), 121);
        float cx = cosine[a], sx = sine[a], cy = cosine[b], sy = sine[b];
        float R[3][3] = {{cy, sx*sy, -cx*sy}, {0, cx, sx}, {sy, -sx*cy, cx*cy}}, low[3], span[3];
        std::vector<float> turned(3*P);
        for (int c = 0; c < 3; c++) {
            float *y = turned.data() + c*P, lo = std::numeric_limits<float>::infinity(), hi = -lo, p = R[0][c], q = R[1][c], r = R[2][c];
            #pragma omp simd reduction(min:lo) reduction(max:hi)
            for (I i = 0; i < P; i++) { float z = x[3*i]*p + x[3*i + 1]*q + x[3*i + 2]*r; y[i] = z; lo = z < lo ? z : lo; hi = z > hi ? z : hi; }
            low[c] = lo; span[c] = hi - lo;
        }
        std::vector<I> frames(T);
        random_frames(L, T, with_key(key, 2), frames.data());
        for (int c = 0; c < 3; c++) {            // to [-1, 1] by all frames; a constant axis to 0
            float lo = low[c], by = span[c] > 0 ? span[c] : 1, one = span[c] > 0;
            for (I t = 0; t < T; t++) for (I m = 0; m < M; m++) {
                const float *y = turned.data() + c*P + (frames[t]*M + m)*V; float *o = out + ((n*3 + c)*T + t)*V*M + m;
                for (I v = 0; v < V; v++) o[v*M] = (y[v] - lo)/by*2 - one;
            }
        }
    });
    return status;
}
