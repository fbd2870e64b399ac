import assert from 'node:assert/strict';
import { test } from 'node:test';
import { verdictOf } from './verdict.ts';

const image = '127.0.0.1:5000/holdfast/app:1';

/** As buildah 1.28 and docker 20 to 28 say it. */
const builds: [lines: string[], exitCode: number | undefined, code: string, message: RegExp][] = [
  [
    ['STEP 6/6: RUN sh -c "exit 3"', 'oops', 'Error: building at STEP "RUN sh -c "exit 3"": exit status 3'],
    3,
    'build_failed',
    /^step RUN sh -c "exit 3" failed: exit code 3$/,
  ],
  [
    [
      'STEP 2/2: COPY missing /',
      'Error: building at STEP "COPY missing /": copier: stat: "/missing": no such file or directory',
    ],
    125,
    'build_failed',
    /^step COPY missing \/ failed: .*no such file/,
  ],
  [
    [
      'STEP 1/2: FROM h/none:1',
      'Error: creating build container: initializing source docker://h/none:1: reading manifest 1 in h/none: manifest unknown: manifest unknown',
    ],
    125,
    'base_image_not_found',
    /base image h\/none:1 is not there/,
  ],
  [
    [
      'Error: creating build container: initializing source docker://h/base:1: reading manifest 1 in h/base: unauthorized: authentication required',
    ],
    125,
    'base_image_not_found',
    /may not be pulled/,
  ],
  [
    [
      'Error: creating build container: initializing source docker://h/none:1: pinging container registry h: Get "https://h/v2/": dial tcp: connect: connection refused',
    ],
    125,
    'registry_unavailable',
    /could not be pulled/,
  ],
  [
    [
      'STEP 2/2: RUNN true',
      'Error: building at STEP "RUNN ": Build error: Unknown instruction: "RUNN" &imagebuilder.Step{}',
    ],
    125,
    'dockerfile_invalid',
    /Unknown instruction: "RUNN"/,
  ],
  [['Error: The target "nope" was not found in the provided Dockerfile'], 125, 'dockerfile_invalid', /nope/],
  [['Error: no contents in "/x/Dockerfile"'], 125, 'dockerfile_invalid', /no contents/],
  [['Error: no FROM statement found'], 125, 'dockerfile_invalid', /no FROM/],
  [
    ['Error: FROM requires either one argument, or three: FROM <source> [as <name>]'],
    125,
    'dockerfile_invalid',
    /FROM/,
  ],
  [
    [
      'STEP 2/2: RUN eat',
      'subprocess exited on killed',
      'subprocess exited with status 1',
      'Error: building at STEP "RUN eat": exit status 1',
    ],
    1,
    'build_out_of_memory',
    /step RUN eat was killed/,
  ],
  [
    ['STEP 3/3: RUN x', 'Error: building at STEP "RUN x": write /y: no space left on device'],
    125,
    'builder_unavailable',
    /no disk space/,
  ],
  [['Cannot connect to the Docker daemon at unix:///var/run/docker.sock.'], 1, 'builder_unavailable', /exit code 1/],
  [[], undefined, 'builder_unavailable', /ended by a signal/],
  [
    ['ERROR: failed to solve: process "/bin/sh -c exit 4" did not complete successfully: exit code: 4'],
    1,
    'build_failed',
    /^step exit 4 failed: exit code 4$/,
  ],
  [
    [
      'ERROR: failed to solve: nope:1: failed to resolve source metadata for docker.io/library/nope:1: docker.io/library/nope:1: not found',
    ],
    1,
    'base_image_not_found',
    /docker\.io\/library\/nope:1/,
  ],
  [
    ['ERROR: failed to solve: dockerfile parse error on line 2: unknown instruction: RUNN'],
    1,
    'dockerfile_invalid',
    /line 2/,
  ],
  [
    ['Step 2/2 : RUN exit 5', "The command '/bin/sh -c exit 5' returned a non-zero code: 5"],
    5,
    'build_failed',
    /^step exit 5 failed: exit code 5$/,
  ],
  [
    [
      'Step 1/1 : FROM nope',
      'pull access denied for nope, repository does not exist or may require docker login: denied: requested access',
    ],
    1,
    'base_image_not_found',
    /nope/,
  ],
];

test('what programs say of a failed build becomes a code and a message that names the step', () => {
  for (const [lines, exitCode, code, message] of builds) {
    const verdict = verdictOf({ stage: 'build', image, exitCode, lines });
    assert.equal(verdict.code, code, lines.join('\n'));
    assert.match(verdict.message, message);
    assert.deepEqual(verdict.logs, lines);
  }
});

test('a push is denied, or the registry is away', () => {
  const push = (line: string): string => verdictOf({ stage: 'push', image, exitCode: 125, lines: [line] }).code;
  const about = 'Error: pushing image "x" to "docker://h/x": trying to reuse blob sha256:0 at destination:';
  assert.equal(
    push(`${about} checking whether a blob exists in h/x: unauthorized: authentication required`),
    'push_denied',
  );
  assert.equal(push('denied: requested access to the resource is denied'), 'push_denied');
  assert.equal(
    push(`${about} pinging container registry h: dial tcp: connect: connection refused`),
    'registry_unavailable',
  );
  assert.equal(push(`${about} received unexpected HTTP status: 503 Service Unavailable`), 'registry_unavailable');
  assert.equal(push('Error: something else'), 'builder_unavailable');
});
