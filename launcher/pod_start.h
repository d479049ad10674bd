/* What pod_start.c has in common with the program that it starts. */
#pragma once

#define POD_START_PROGRAM "/opt/elara/lib/elara-launcher"
/* Of variables of the image that are not for us: "ELARA_IMAGE_LD_PRELOAD=...". */
#define POD_START_PREFIX "ELARA_IMAGE_"
