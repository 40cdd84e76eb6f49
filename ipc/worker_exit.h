#pragma once
// How a zygote, worker or gateway ends by itself (sysexits.h where it has a word for it), for those
// that end and for the supervisor that reads it. Any other end is a signal.

namespace cosigner::ipc {

enum WorkerExit : int {
  kExitClean = 0,         ///< evicted, drained, or the supervisor is gone
  kExitSoftware = 70,     ///< a bug of ours: an exception outside any request, a frame that is none
  kExitOrphan = 71,       ///< forked, but the supervisor was gone already
  kExitOutOfMemory = 72,  ///< an allocation failed: the memory limit
  kExitSelfTest = 73,  ///< the zygote: a primitive computes wrongly, so nobody is to sign with it
  kExitUnread = 74     ///< the supervisor does not read: its queue of frames is full
};

}  // namespace cosigner::ipc
