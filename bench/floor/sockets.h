/* Plain blocking set-up of sockets: none of it is on the measured path. */
#ifndef FASTMESH_BENCH_SOCKETS_H
#define FASTMESH_BENCH_SOCKETS_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static inline void socket_no_delay(int fd) {
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}
static inline struct sockaddr_in socket_loopback(int port) {
    struct sockaddr_in address;
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_port = htons((uint16_t)port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}
static inline int socket_listen(int port) {
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_in address = socket_loopback(port);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 4096) < 0) return -errno;
    return fd;
}
static inline int socket_connect(int port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = socket_loopback(port);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0) {
        int failed = -errno;
        close(fd);
        return failed;
    }
    fcntl(fd, F_SETFL, O_NONBLOCK);
    socket_no_delay(fd);
    return fd;
}

#endif
