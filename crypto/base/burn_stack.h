#pragma once
// Wipes what finished calls have left behind: on the stack intermediate limbs, hash states and rows
// that no destructor owns, and in the vector registers whatever was copied last (the dynamic
// linker's lazy binding saves them to the stack; a search of memory has found a Δ there). Called by
// the protocols when a step has returned, so that the step's frames lie below the caller's.

namespace cosigner {

/// Overwrites the next 64 KiB of stack (a step's deepest frames take about 40) and every register
/// that a call may change; 2 µs.
void burn_stack();

}  // namespace cosigner
