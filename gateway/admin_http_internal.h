/* What admin_http.c and admin_websocket.c share. */
#pragma once

#include "base/buffer.h"
#include "gateway/admin.h"
#include "gateway/admin_settings.h"

#include <curl/curl.h>

struct admin_gateway {
    struct admin_settings settings;
    CURL *curl;
    struct curl_slist *headers;
    char curl_error[CURL_ERROR_SIZE];
    struct buffer answer;
};

/* What every connection to this gateway needs. */
void admin_gateway_configure(const struct admin_gateway *gateway, CURL *curl);
