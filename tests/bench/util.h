/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * util: reading counters, lines over a socket, sockets. One thread, except now_ns().
 */
#ifndef BENCH_UTIL_H
#define BENCH_UTIL_H

#include <stddef.h>
#include <stdint.h>

/* CLOCK_MONOTONIC in ns; in the deterministic lab that is instructions executed. */
uint64_t now_ns(void);

_Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The text of a file, cut to size - 1 bytes, in buf, which is also returned; empty if it cannot be read. */
char *read_text(const char *path, char *buf, size_t size);
uint64_t read_number(const char *path);
int write_text(const char *path, const char *text); /* -1: errno */
/* The first decimal number in text behind the first occurrence of key; 0 if there is none. */
uint64_t number_after(const char *text, const char *key);

/* All n bytes, or -1. */
int read_all(int fd, void *buf, size_t n);
int write_all(int fd, const void *buf, size_t n);
/* A line without its newline; -1 at the end or on an error. */
int get_line(int fd, char *line, size_t size);
int put_line(int fd, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* type is SOCK_STREAM or SOCK_DGRAM; datagram sockets get a large buffer, streams no Nagle. */
int listen_on(int port, int type);
int connect_to(const char *address, int port, int type); /* -1: errno */
int accept_from(int listener);				 /* -1: errno */
void receive_timeout(int fd, int ms);

#endif
