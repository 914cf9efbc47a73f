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

/* Zigzag residuals of a map; `rows` holds three rows to work with. Returns whether any score is NaN. */
static int encode_map(const float *scores, uint8_t *residuals, uint8_t *rows, Py_ssize_t height, Py_ssize_t width) {
    uint8_t *row = rows, *above = rows + width, *above_that = rows + 2 * width;
    int nan = 0;
    memset(rows, 0, 3 * width);
    for (Py_ssize_t y = 0; y < height; y++, scores += width, residuals += width) {
        nan |= quantise(scores, row, width);
        if (y == 1) memcpy(above_that, above, width); /* nothing to extrapolate from: the row above itself */
        for (Py_ssize_t x = 0; x < width; x++)
            residuals[x] = zigzag((uint8_t)(row[x] - extrapolated(above[x], above_that[x])));
        uint8_t *oldest = above_that;
        above_that = above, above = row, row = oldest;
    }
    return nan;
}

/* Inverse of `encode_map`. */
static void decode_map(const uint8_t *residuals, float *scores, uint8_t *rows, Py_ssize_t height, Py_ssize_t width) {
    uint8_t *row = rows, *above = rows + width, *above_that = rows + 2 * width;
    memset(rows, 0, 3 * width);
    for (Py_ssize_t y = 0; y < height; y++, scores += width, residuals += width) {
        if (y == 1) memcpy(above_that, above, width);
        for (Py_ssize_t x = 0; x < width; x++)
            row[x] = (uint8_t)(unzigzag(residuals[x]) + extrapolated(above[x], above_that[x]));
        for (Py_ssize_t x = 0; x < width; x++) scores[x] = (float)row[x] * (1.0f / 255.0f);
        uint8_t *oldest = above_that;
        above_that = above, above = row, row = oldest;
    }
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
static void pack(const uint64_t *block, uint64_t *packed, int width) {
    memset(packed, 0, WORDS * sizeof *packed);
    for (int i = 0; i < WORDS; i++) {
        int word = i * width / 8, bit = i * width % 8;
        packed[word] |= shift_up(block[i], bit);
        if (bit + width > 8) packed[word + 1] = shift_down(block[i], 8 - bit);
    }
}

/* Inverse of `pack`. */
static void unpack(const uint64_t *packed, uint64_t *block, int width) {
    for (int i = 0; i < WORDS; i++) {
        int word = i * width / 8, bit = i * width % 8;
        block[i] = shift_down(packed[word], bit);
        if (bit + width > 8) block[i] |= shift_up(packed[word + 1], 8 - bit);
        block[i] &= low_bits(width);
    }
}

/* Residuals to a record; returns its size. */
static Py_ssize_t encode_blocks(const uint8_t *residuals, Py_ssize_t blocks, uint8_t *record) {
    uint8_t *end = record + blocks;
    for (Py_ssize_t b = 0; b < blocks; b++) {
        uint64_t block[WORDS], packed[WORDS];
        memcpy(block, residuals + b * BLOCK, BLOCK);
        int width = record[b] = (uint8_t)block_width(block);
        pack(block, packed, width);
        memcpy(end, packed, WORDS * width);
        end += WORDS * width;
    }
    return end - record;
}

/* Inverse of `encode_blocks`, of a record whose size has been found right. */
static void decode_blocks(const uint8_t *record, Py_ssize_t blocks, uint8_t *residuals) {
    const uint8_t *next = record + blocks;
    for (Py_ssize_t b = 0; b < blocks; b++) {
        uint64_t block[WORDS], packed[WORDS + 1] = {0};
        int width = record[b];
        memcpy(packed, next, WORDS * width);
        next += WORDS * width;
        unpack(packed, block, width);
        memcpy(residuals + b * BLOCK, block, BLOCK);
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
    uint8_t *work = NULL;
    if (scores.len != pixels * (Py_ssize_t)sizeof(float)) {
        PyErr_SetString(PyExc_ValueError, "scores are not count × height × width float32");
    } else if (!(work = PyMem_Malloc(blocks * BLOCK + blocks * (BLOCK + 1) + 3 * width + 1))) {
        PyErr_NoMemory();
    } else {
        uint8_t *residuals = work, *record = work + blocks * BLOCK, *rows = record + blocks * (BLOCK + 1);
        Py_ssize_t size = 0;
        int nan = 0;
        Py_BEGIN_ALLOW_THREADS
        for (Py_ssize_t k = 0; k < count; k++) {
            Py_ssize_t start = k * height * width;
            nan |= encode_map((const float *)scores.buf + start, residuals + start, rows, height, width);
        }
        memset(residuals + pixels, 0, blocks * BLOCK - pixels);
        size = encode_blocks(residuals, blocks, record);
        Py_END_ALLOW_THREADS
        if (nan)
            PyErr_SetString(PyExc_ValueError, "scores hold NaN");
        else
            result = PyBytes_FromStringAndSize((const char *)record, size);
    }
    PyMem_Free(work);
    PyBuffer_Release(&scores);
    return result;
}

static PyObject *decode(PyObject *self, PyObject *arguments) {
    Py_buffer record, scores;
    Py_ssize_t count, height, width;
    if (!PyArg_ParseTuple(arguments, "y*w*nnn", &record, &scores, &count, &height, &width)) return NULL;
    Py_ssize_t pixels = count * height * width, blocks = (pixels + BLOCK - 1) / BLOCK;
    Py_ssize_t expected = expected_size(record.buf, record.len, blocks);
    PyObject *result = NULL;
    uint8_t *work = NULL;
    if (scores.len != pixels * (Py_ssize_t)sizeof(float)) {
        PyErr_SetString(PyExc_ValueError, "scores are not count × height × width float32");
    } else if (expected != record.len) {
        PyErr_Format(PyExc_ValueError, "a record of %zd bytes does not fit %zd maps of %zd x %zd pixels", record.len,
                     count, height, width);
    } else if (!(work = PyMem_Malloc(blocks * BLOCK + 3 * width + 1))) {
        PyErr_NoMemory();
    } else {
        uint8_t *residuals = work, *rows = work + blocks * BLOCK;
        Py_BEGIN_ALLOW_THREADS
        decode_blocks(record.buf, blocks, residuals);
        for (Py_ssize_t k = 0; k < count; k++) {
            Py_ssize_t start = k * height * width;
            decode_map(residuals + start, (float *)scores.buf + start, rows, height, width);
        }
        Py_END_ALLOW_THREADS
        result = Py_NewRef(Py_None);
    }
    PyMem_Free(work);
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
