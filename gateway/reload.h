/* What is read again while the gateway runs: settings, tokens, certificates and kernelspecs, on
 * SIGHUP and when their files change. What cannot be read stays as it was. */
#pragma once

struct gateway;
struct reload;

struct reload *reload_create(struct gateway *gateway);
void reload_destroy(struct reload *reload);
