/*
 * libmodbus's own client in a loop, for the benchmark of links.
 *
 *   client tcp ADDRESS:PORT READS
 *   client rtu PTY READS
 */
#include <errno.h>
#include <modbus.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double seconds_of(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void fail(const char *what) {
    fprintf(stderr, "%s: %s\n", what, modbus_strerror(errno));
    exit(1);
}

int main(int count, char **arguments) {
    if (count != 4) {
        fprintf(stderr, "usage: client tcp|rtu PLACE READS\n");
        return 2;
    }
    modbus_t *context;
    if (strcmp(arguments[1], "tcp") == 0) {
        char *colon = strrchr(arguments[2], ':');
        if (colon == NULL)
            return 2;
        *colon = 0;
        context = modbus_new_tcp(arguments[2], atoi(colon + 1));
    } else {
        context = modbus_new_rtu(arguments[2], 115200, 'N', 8, 1);
    }
    if (context == NULL || modbus_set_slave(context, 1) < 0 || modbus_connect(context) < 0)
        fail(arguments[2]);
    long reads = atol(arguments[3]);
    uint16_t registers[2];
    double began = 0, processor = 0;
    /* The first tenth warms up. */
    for (long read = -reads / 10; read < reads; read++) {
        if (read == 0) {
            began = seconds_of(CLOCK_MONOTONIC);
            processor = seconds_of(CLOCK_PROCESS_CPUTIME_ID);
        }
        if (modbus_read_registers(context, 0, 2, registers) != 2)
            fail("read");
        if (registers[0] != 253 || registers[1] != 0) {
            fprintf(stderr, "read %d %d\n", registers[0], registers[1]);
            return 1;
        }
    }
    printf("{\"reads\": %ld, \"seconds\": %.6f, \"processor\": %.6f}\n", reads, seconds_of(CLOCK_MONOTONIC) - began,
           seconds_of(CLOCK_PROCESS_CPUTIME_ID) - processor);
    return 0;
}
