#include "types.cuh"
// What changes from step to step, written to where the kernels of a step read it. The record comes by value, so that the
// host may go on at once and write the next one.

struct Record {
    i64 word[WORDS];
    double rows;  // of the batch before, whose loss is added to the sum; 0 if it was added already
    i64 keeps;    // the loss: this is a later part of a batch
};

extern "C" __global__ void __launch_bounds__(WARP) tick(Record record, i64* control) {
    const int i = threadIdx.x;
    double* numbers = reinterpret_cast<double*>(control);
    double sum = 0;
    if (i == SUM) {
        sum = numbers[SUM];  // rounded twice, as the host does
        if (record.rows != 0) sum = __dadd_rn(sum, __dmul_rn(record.rows, numbers[LOSS]));
    }
    __syncwarp();
    if (i == SUM)
        numbers[SUM] = sum;
    else if (i == COUNT)
        control[COUNT] += record.rows != 0 && control[STATUS] == 0;
    else if (i < WORDS && i != STATUS && !(i == LOSS && record.keeps))
        control[i] = record.word[i];
}
