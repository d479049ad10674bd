/* libcurl's multi handle on a libevent loop: an event for each of its sockets, one timer. */
#pragma once

#include <curl/curl.h>
#include <event2/event.h>

struct curl_loop;

/* From the loop, when libcurl has returned; both may do anything to it, but destroy it. */
struct curl_loop_events {
    /* The handle's transfer has ended, and it has been taken out; it is still the caller's. */
    void (*finished)(void *context, CURL *easy, CURLcode code);
    void (*after)(void *context); /* once a turn, after all that finished; NULL: not wanted */
};

/* NULL when libcurl does not start. idle_max: connections that are kept for the next transfer. */
struct curl_loop *curl_loop_create(struct event_base *loop, long idle_max,
                                   const struct curl_loop_events *events, void *context);
/* After all its handles were taken out. */
void curl_loop_destroy(struct curl_loop *loop);

void curl_loop_add(struct curl_loop *loop, CURL *easy);
void curl_loop_remove(struct curl_loop *loop, CURL *easy);
