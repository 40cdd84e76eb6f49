#pragma once
// glibc 2.36's <sys/pidfd.h> forgets to say that its functions have C linkage.
// The standard headers it includes come first, so that they stay outside of the linkage block.

#include <fcntl.h>
#include <signal.h>
#include <sys/types.h>

extern "C" {
#include <sys/pidfd.h>
}
