#pragma once
// Wipes what finished calls have left on the stack: intermediate limbs, hash states and rows that
// no destructor owns. Called by the protocols when a step has returned, so that the step's frames
// lie below the caller's.

namespace cosigner::dkls23 {

/// Overwrites the next 64 KiB of stack (a step's deepest frames take about 40); 2 µs.
void burn_stack();

}  // namespace cosigner::dkls23
