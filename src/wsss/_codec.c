/* The loops of wsss.codec, which describes the format. Nothing here touches Python objects but `encode` and `decode`
 * themselves; sizes are checked before any loop runs, so that no record, however damaged, is read or written past its end.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

enum { BLOCK = 64, WORDS = 8 };

static const uint64_t LOWEST = 0x0101010101010101u; /* the lowest bit of each byte of a word */

/* The lowest n bits (0..8) of each byte. */
static uint64_t low_bits(int n) { return LOWEST * ((1u << n) - 1); }

/* Each byte shifted by itself: what leaves it is lost. */
static uint64_t shift_up(uint64_t word, int n) { return (word & low_bits(8 - n)) << n; }
static uint64_t shift_down(uint64_t word, int n) { return (word >> n) & low_bits(8 - n); }

/* Bytes of a row from the two rows above it: linear extrapolation; a row above the map is one of zeros. */
static uint8_t extrapolated(uint8_t above, uint8_t above_that) { return (uint8_t)(2 * above - above_that); }

static uint8_t zigzag(uint8_t value) { return (uint8_t)((value << 1) ^ -(value >> 7)); }
static uint8_t unzigzag(uint8_t value) { return (uint8_t)((value >> 1) ^ -(value & 1)); }

/* One row of scores as levels; returns whether any is NaN. */
static int quantise(const float *scores, uint8_t *levels, Py_ssize_t width) {
    int nan = 0;
    for (Py_ssize_t x = 0; x < width; x++) {
        float level = scores[x] * 255.0f + 0.5f;
        nan |= level != level;
        level = level > 0.0f ? level : 0.0f;
        level = level < 255.0f ? level : 255.0f;
        levels[x] = (uint8_t)(int)level;
    }
    return nan;
}

/* Bits that the largest byte of a block needs. */
static int block_width(const uint64_t *block) {
    uint64_t any = 0;
    for (int i = 0; i < WORDS; i++) any |= block[i];
    int width = 8;
    while (width > 0 && !(any & (LOWEST << (width - 1)))) width--;
    return width;
}

/* The lowest `width` bits of each byte of a block, packed to `width` words. */
static inline void pack_by(const uint64_t *block, uint64_t *packed, int width) {
    memset(packed, 0, WORDS * sizeof *packed);
    for (int i = 0; i < WORDS; i++) {
        int word = i * width / 8, bit = i * width % 8;
        packed[word] |= shift_up(block[i], bit);
        if (bit + width > 8) packed[word + 1] = shift_down(block[i], 8 - bit);
    }
}

/* Inverse of `pack_by`. */
static inline void unpack_by(const uint64_t *packed, uint64_t *block, int width) {
    for (int i = 0; i < WORDS; i++) {
        int word = i * width / 8, bit = i * width % 8;
        block[i] = shift_down(packed[word], bit);
        if (bit + width > 8) block[i] |= shift_up(packed[word + 1], 8 - bit);
        block[i] &= low_bits(width);
    }
}

/* The same with the loops unrolled for each width. */
#define FOR_EACH_WIDTH(call, from, to, width)                                                                          \
    switch (width) {                                                                                                   \
    case 0: call(from, to, 0); break;                                                                                  \
    case 1: call(from, to, 1); break;                                                                                  \
    case 2: call(from, to, 2); break;                                                                                  \
    case 3: call(from, to, 3); break;                                                                                  \
    case 4: call(from, to, 4); break;                                                                                  \
    case 5: call(from, to, 5); break;                                                                                  \
    case 6: call(from, to, 6); break;                                                                                  \
    case 7: call(from, to, 7); break;                                                                                  \
    default: call(from, to, 8);                                                                                        \
    }

static void pack(const uint64_t *block, uint64_t *packed, int width) { FOR_EACH_WIDTH(pack_by, block, packed, width) }
static void unpack(const uint64_t *packed, uint64_t *block, int width) { FOR_EACH_WIDTH(unpack_by, packed, block, width) }

/* A row and the two above it in a map, and residuals on their way between rows and blocks. */
typedef struct {
    uint8_t *row, *above, *above_that;
    uint8_t *residuals; /* room for a row and a block */
    Py_ssize_t held;    /* how many of them wait */
    uint8_t *widths;    /* of the next block */
    uint8_t *words;     /* of the next block */
} State;

/* Memory for rows of `width`, to be freed; NULL without an exception if there is none. */
static uint8_t *start(State *state, Py_ssize_t width, uint8_t *record, Py_ssize_t blocks) {
    uint8_t *memory = PyMem_Malloc(4 * width + BLOCK);
    if (memory) {
        *state = (State){memory, memory + width, memory + 2 * width, memory + 3 * width, 0, record, record + blocks};
    }
    return memory;
}

/* Before row y of a map is predicted: above the first row are zeros, above the second the first row, twice. */
static void prepare_prediction(State *state, Py_ssize_t y, Py_ssize_t width) {
    if (y == 0) memset(state->above, 0, width), memset(state->above_that, 0, width);
    if (y == 1) memcpy(state->above_that, state->above, width);
}

static void next_row(State *state) {
    uint8_t *oldest = state->above_that;
    state->above_that = state->above, state->above = state->row, state->row = oldest;
}

/* The first `count` residuals are done with. */
static void drop(State *state, Py_ssize_t count) {
    state->held -= count;
    memmove(state->residuals, state->residuals + count, state->held);
}

static void write_block(State *state, const uint8_t *residuals) {
    uint64_t block[WORDS], packed[WORDS];
    memcpy(block, residuals, BLOCK);
    int width = *state->widths++ = (uint8_t)block_width(block);
    pack(block, packed, width);
    memcpy(state->words, packed, WORDS * width);
    state->words += WORDS * width;
}

static void read_block(State *state, uint8_t *residuals) {
    uint64_t block[WORDS], packed[WORDS + 1] = {0};
    int width = *state->widths++;
    memcpy(packed, state->words, WORDS * width);
    state->words += WORDS * width;
    unpack(packed, block, width);
    memcpy(residuals, block, BLOCK);
}

/* Writes a map but for residuals that fill no block yet. Returns whether any score is NaN. */
static int encode_map(State *state, const float *scores, Py_ssize_t height, Py_ssize_t width) {
    int nan = 0;
    for (Py_ssize_t y = 0; y < height; y++, scores += width) {
        uint8_t *residuals = state->residuals + state->held;
        nan |= quantise(scores, state->row, width);
        prepare_prediction(state, y, width);
        for (Py_ssize_t x = 0; x < width; x++)
            residuals[x] = zigzag((uint8_t)(state->row[x] - extrapolated(state->above[x], state->above_that[x])));
        state->held += width;
        Py_ssize_t written = 0;
        for (; state->held - written >= BLOCK; written += BLOCK) write_block(state, state->residuals + written);
        drop(state, written);
        next_row(state);
    }
    return nan;
}

/* Inverse of `encode_map`. */
static void decode_map(State *state, float *scores, Py_ssize_t height, Py_ssize_t width) {
    for (Py_ssize_t y = 0; y < height; y++, scores += width) {
        for (; state->held < width; state->held += BLOCK) read_block(state, state->residuals + state->held);
        prepare_prediction(state, y, width);
        for (Py_ssize_t x = 0; x < width; x++)
            state->row[x] =
                (uint8_t)(unzigzag(state->residuals[x]) + extrapolated(state->above[x], state->above_that[x]));
        for (Py_ssize_t x = 0; x < width; x++) scores[x] = (float)state->row[x] * (1.0f / 255.0f);
        drop(state, width);
        next_row(state);
    }
}

/* Size of a record by its own widths, or -1 if they are none. */
static Py_ssize_t expected_size(const uint8_t *record, Py_ssize_t size, Py_ssize_t blocks) {
    if (size < blocks) return -1;
    Py_ssize_t expected = blocks;
    for (Py_ssize_t b = 0; b < blocks; b++) {
        if (record[b] > 8) return -1;
        expected += WORDS * record[b];
    }
    return expected;
}

static PyObject *encode(PyObject *self, PyObject *arguments) {
    Py_buffer scores;
    Py_ssize_t count, height, width;
    if (!PyArg_ParseTuple(arguments, "y*nnn", &scores, &count, &height, &width)) return NULL;
    Py_ssize_t pixels = count * height * width, blocks = (pixels + BLOCK - 1) / BLOCK;
    PyObject *result = NULL;
    uint8_t *record = NULL, *memory = NULL;
    State state;
    if (scores.len != pixels * (Py_ssize_t)sizeof(float)) {
        PyErr_SetString(PyExc_ValueError, "scores are not count × height × width float32");
    } else if (!(record = PyMem_Malloc(blocks * (1 + BLOCK) + 1)) || !(memory = start(&state, width, record, blocks))) {
        PyErr_NoMemory();
    } else {
        int nan = 0;
        Py_BEGIN_ALLOW_THREADS
        for (Py_ssize_t k = 0; k < count; k++)
            nan |= encode_map(&state, (const float *)scores.buf + k * height * width, height, width);
        if (state.held) {
            memset(state.residuals + state.held, 0, BLOCK - state.held);
            write_block(&state, state.residuals);
        }
        Py_END_ALLOW_THREADS
        if (nan)
            PyErr_SetString(PyExc_ValueError, "scores hold NaN");
        else
            result = PyBytes_FromStringAndSize((const char *)record, state.words - record);
    }
    PyMem_Free(memory);
    PyMem_Free(record);
    PyBuffer_Release(&scores);
    return result;
}

static PyObject *decode(PyObject *self, PyObject *arguments) {
    Py_buffer record, scores;
    Py_ssize_t count, height, width;
    if (!PyArg_ParseTuple(arguments, "y*w*nnn", &record, &scores, &count, &height, &width)) return NULL;
    Py_ssize_t pixels = count * height * width, blocks = (pixels + BLOCK - 1) / BLOCK;
    PyObject *result = NULL;
    uint8_t *memory = NULL;
    State state;
    if (scores.len != pixels * (Py_ssize_t)sizeof(float)) {
        PyErr_SetString(PyExc_ValueError, "scores are not count × height × width float32");
    } else if (expected_size(record.buf, record.len, blocks) != record.len) {
        PyErr_Format(PyExc_ValueError, "a record of %zd bytes does not fit %zd maps of %zd x %zd pixels", record.len,
                     count, height, width);
    } else if (!(memory = start(&state, width, record.buf, blocks))) {
        PyErr_NoMemory();
    } else {
        Py_BEGIN_ALLOW_THREADS
        for (Py_ssize_t k = 0; k < count; k++)
            decode_map(&state, (float *)scores.buf + k * height * width, height, width);
        Py_END_ALLOW_THREADS
        result = Py_NewRef(Py_None);
    }
    PyMem_Free(memory);
    PyBuffer_Release(&scores);
    PyBuffer_Release(&record);
    return result;
}

static PyMethodDef methods[] = {
    {"encode", encode, METH_VARARGS, "encode(scores, count, height, width) -> bytes; ValueError for NaN"},
    {"decode", decode, METH_VARARGS, "decode(record, scores, count, height, width); fills scores"},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef module = {PyModuleDef_HEAD_INIT, .m_name = "_codec", .m_size = 0, .m_methods = methods};

PyMODINIT_FUNC PyInit__codec(void) { return PyModuleDef_Init(&module); }
