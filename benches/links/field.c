/*
 * The field for the benchmark of links: libmodbus answering from two holding registers, over TCP and over a pty.
 *
 *   field tcp    prints its address, serves each connection in a process of its own
 *   field rtu    prints the path of its pty, serves whoever opens it; bytes go over it as fast as the kernel takes them
 *
 * Ends when its standard input ends.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <modbus.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <termios.h>
#include <unistd.h>

#define UNIT 1
/* 0: 253, a value in tenths. 1: 0, a status that says the value is good. */
static const uint16_t registers[2] = {253, 0};

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void *end_with_input(void *unused) {
    char byte;
    (void)unused;
    while (read(STDIN_FILENO, &byte, 1) > 0) {
    }
    /* The processes of connections end with this one: see PR_SET_PDEATHSIG. */
    exit(0);
}

static modbus_mapping_t *mapping(void) {
    modbus_mapping_t *mapping = modbus_mapping_new(0, 0, 2, 0);
    if (mapping == NULL)
        fail("modbus_mapping_new");
    memcpy(mapping->tab_registers, registers, sizeof registers);
    return mapping;
}

static void answer(modbus_t *context, int for_ever) {
    uint8_t request[MODBUS_RTU_MAX_ADU_LENGTH + MODBUS_TCP_MAX_ADU_LENGTH];
    modbus_mapping_t *map = mapping();
    for (;;) {
        int length = modbus_receive(context, request);
        if (length > 0)
            modbus_reply(context, request, length, map);
        else if (length < 0 && !for_ever)
            break;
    }
    modbus_mapping_free(map);
}

static void serve_tcp(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int one = 1;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, size) < 0 || listen(listener, 16) < 0 ||
        getsockname(listener, (struct sockaddr *)&address, &size) < 0)
        fail("listen");
    signal(SIGCHLD, SIG_IGN);
    printf("127.0.0.1:%d\n", ntohs(address.sin_port));
    fflush(stdout);
    pthread_t watcher;
    if (pthread_create(&watcher, NULL, end_with_input, NULL) != 0)
        fail("pthread_create");
    for (;;) {
        int connection = accept(listener, NULL, NULL);
        if (connection < 0)
            continue;
        setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (fork() == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            modbus_t *context = modbus_new_tcp("127.0.0.1", 0);
            modbus_set_socket(context, connection);
            answer(context, 0);
            _exit(0);
        }
        close(connection);
    }
}

static void serve_rtu(void) {
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    if (master < 0 || grantpt(master) < 0 || unlockpt(master) < 0)
        fail("posix_openpt");
    const char *path = ptsname(master);
    /* Kept open: without a client the master would fail. */
    int slave = open(path, O_RDWR | O_NOCTTY);
    struct termios raw;
    if (slave < 0 || tcgetattr(slave, &raw) < 0)
        fail(path);
    cfmakeraw(&raw);
    if (tcsetattr(slave, TCSANOW, &raw) < 0)
        fail(path);
    printf("%s\n", path);
    fflush(stdout);
    pthread_t watcher;
    if (pthread_create(&watcher, NULL, end_with_input, NULL) != 0)
        fail("pthread_create");
    /* The line settings are of no consequence: the context is given its descriptor, and a pty has no line. */
    modbus_t *context = modbus_new_rtu(path, 115200, 'N', 8, 1);
    modbus_set_slave(context, UNIT);
    modbus_set_socket(context, master);
    answer(context, 1);
}

int main(int count, char **arguments) {
    if (count == 2 && strcmp(arguments[1], "tcp") == 0)
        serve_tcp();
    else if (count == 2 && strcmp(arguments[1], "rtu") == 0)
        serve_rtu();
    fprintf(stderr, "usage: field tcp|rtu\n");
    return 2;
}
