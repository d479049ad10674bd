/* Cells that a kernel runs, and a gateway's sessions that see them: for tests of what a client is
 * shown anew. */
#pragma once

#include "link_peer.h"

#define REPEAT true
#define STREAM false

/* Has said HELLO; capabilities: texts of JSON. */
struct peer *gateway(struct world *world, const char *name, const char *capabilities);
/* Returns where it starts. */
uint64_t attach(struct peer *peer, uint16_t number, const char *session, int unsure_ms,
                bool rebuild);
void detach(struct peer *peer, uint16_t number, const char *ending);
void ack(struct peer *peer, uint16_t number, uint64_t seq);
void ack_sure(struct peer *peer, uint16_t number, uint64_t seq, uint64_t sure);
void pass_over(struct peer *peer, unsigned count);
/* A message of cell `cell` ('a' ...) from the kernel. */
uint64_t say_to(struct world *world, session_number session, enum kernel_channel channel, char cell,
                const char *type, const char *content, size_t padding);
uint64_t say(struct world *world, char cell, const char *type, const char *content);
uint64_t status(struct world *world, char cell, const char *execution_state);
session_number number_of(struct world *world, const char *id);
/* The next message is this one: as a repeat or in its place in the stream. */
void expect(struct peer *peer, uint16_t number, bool is_repeat, uint64_t seq, char cell,
            const char *type);
/* busy and two lines: 1, 2, 3 of cell a, all received by session "s", attachment 1. */
struct peer *begin(struct world *world, int unsure_ms);
