#pragma once
// What an idle worker gives back to the kernel.

namespace cosigner::worker {

/// Whole free pages of the heap, and the stack beneath the caller: burn_stack() writes 64 KiB of
/// zeros there at every signature, which would stay this process's own. Call it from the bottom of
/// the loop, on the main thread: what lies deeper is dead.
void give_back_memory();

}  // namespace cosigner::worker
