/* The Jupyter connection file (Jupyter documentation, "Making kernels for Jupyter", connection
 * files). */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

enum connection_port { PORT_SHELL, PORT_IOPUB, PORT_STDIN, PORT_CONTROL, PORT_HB, PORT_COUNT };

enum { CONNECTION_ADDRESS_SIZE = 160 };

struct connection {
    bool is_ipc;
    char ip[108]; /* with ipc the path that "-<port>" is put behind */
    int ports[PORT_COUNT];
    int claim;               /* a descriptor while no other launcher picks these ports, else 0 */
    char *key;               /* 256 random bits as hex; base/secret.h */
    const char *kernel_name; /* borrowed */
};

/* A new key and new ports. directory holds the sockets with ipc. */
int connection_create(const char *transport, const char *directory, const char *kernel_name,
                      struct connection *ret, struct error *err);
void connection_end(struct connection *connection); /* wipes the key, gives up the ports */
/* Other ports, the same key: for a kernel that lost the race for the old ones. */
int connection_renew_ports(struct connection *connection, struct error *err);
/* Whether somebody else listens on one of the ports: no launcher does, but another process may. */
bool connection_is_taken(const struct connection *connection);
/* Whether a text has one of the ports in an address. */
bool connection_is_named(const struct connection *connection, const char *text);

/* Mode 0600: whoever reads the key commands the kernel. */
int connection_write(const struct connection *connection, const char *path, struct error *err);
void connection_address(const struct connection *connection, enum connection_port port,
                        char address[CONNECTION_ADDRESS_SIZE]);
/* The sockets that an ended ipc kernel left behind. */
void connection_remove_sockets(const struct connection *connection);
