// One line for each check, and what the run ends with.
let failures = 0;

export async function check(name, body) {
  try {
    console.log(`ok    ${name}: ${await body()}`);
  } catch (problem) {
    failures += 1;
    console.log(`FAIL  ${name}: ${problem.message}`);
  }
}

export function demand(condition, complaint) {
  if (!condition) throw new Error(complaint);
}

export const ms = (value) => `${value.toFixed(1)} ms`;

/** Ends the process: with 1 if a check failed. */
export function finish() {
  console.log(failures === 0 ? 'all checks passed' : `${failures} checks failed`);
  process.exit(failures === 0 ? 0 : 1);
}
