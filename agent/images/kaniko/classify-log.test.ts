/** What the executor says, as it says it, and what that means. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ErrorCode } from '../../../shared/error-codes.ts';
import { classifyLog } from './classify-log.ts';

const push =
  'error checking push permissions -- make sure you entered the correct tag name, and that you are authenticated correctly, and try again: ';
const digest = `sha256:${'a'.repeat(64)}`;

const cases: readonly {
  readonly name: string;
  readonly lines: readonly string[];
  readonly exitCode?: number;
  readonly code: ErrorCode;
  readonly message: RegExp;
  readonly step?: string;
}[] = [
  {
    name: 'a failing RUN, naming step and exit code',
    lines: [
      'INFO[0002] COPY package.json ./                         ',
      'INFO[0003] RUN npm ci                                   ',
      'INFO[0003] Cmd: /bin/sh                                 ',
      'INFO[0003] Running: [/bin/sh -c npm ci]                 ',
      'npm error code E404',
      'error building image: error building stage: failed to execute command: waiting for process to exit: exit status 7',
    ],
    exitCode: 7,
    code: 'build_failed',
    message: /^the step `RUN npm ci` failed with exit code 7$/,
    step: 'RUN npm ci',
  },
  {
    name: 'a RUN that was killed',
    lines: [
      'INFO[0003] RUN make',
      'error building image: error building stage: failed to execute command: waiting for process to exit: signal: killed',
    ],
    exitCode: 255,
    code: 'build_out_of_memory',
    message: /`RUN make` was killed/,
  },
  {
    name: 'a RUN whose shell tells that its program was killed',
    lines: [
      'INFO[0003] RUN make all; true',
      'Killed',
      'error building image: error building stage: failed to execute command: waiting for process to exit: exit status 137',
    ],
    exitCode: 137,
    code: 'build_out_of_memory',
    message: /`RUN make all; true` was killed/,
  },
  {
    name: 'a RUN that crashed',
    lines: [
      'INFO[0003] RUN ./x',
      'error building image: error building stage: failed to execute command: waiting for process to exit: signal: segmentation fault (core dumped)',
    ],
    exitCode: 255,
    code: 'build_failed',
    message: /segmentation fault/,
  },
  {
    name: 'a program that is not there',
    lines: [
      'INFO[0003] RUN ["/x"]',
      'error building image: error building stage: failed to execute command: starting command: fork/exec /x: no such file or directory',
    ],
    code: 'build_failed',
    message: /`RUN \["\/x"\]` failed: starting command: fork\/exec \/x/,
  },
  {
    name: 'a RUN whose network is away is no registry that is away',
    lines: [
      'INFO[0003] RUN go mod download',
      'go: example.com/x: Get "https://proxy.example/": dial tcp: lookup proxy.example: no such host',
      'error building image: error building stage: failed to execute command: waiting for process to exit: exit status 1',
    ],
    code: 'build_failed',
    message: /go mod download` failed with exit code 1/,
  },
  {
    name: 'a file to copy that is missing, while cache keys are computed',
    lines: [
      'error building image: failed to optimize instructions: failed to get files used from context: failed to get fileinfo for /kaniko/buildcontext/tree/x: lstat /kaniko/buildcontext/tree/x: no such file or directory',
    ],
    code: 'build_failed',
    message: /lstat x: no such file/,
  },
  {
    name: 'a file to copy that is missing',
    lines: [
      'INFO[0001] COPY x /y',
      'error building image: error building stage: failed to get files used from context: failed to get fileinfo for /kaniko/buildcontext/tree/x: lstat /kaniko/buildcontext/tree/x: no such file or directory',
    ],
    code: 'build_failed',
    message: /the step `COPY x \/y` failed/,
  },
  {
    name: 'an unknown instruction',
    lines: [
      'error building image: parsing dockerfile: dockerfile parse error on line 2: unknown instruction: FOO (did you mean FROM?)',
    ],
    code: 'dockerfile_invalid',
    message: /^the Dockerfile is not valid: .*line 2: unknown instruction: FOO/,
  },
  {
    name: 'an empty Dockerfile',
    lines: ['error building image: parsing dockerfile: file with no instructions'],
    code: 'dockerfile_invalid',
    message: /no instructions/,
  },
  {
    name: 'no FROM',
    lines: ['error building image: dockerfile must contain at least one FROM instruction'],
    code: 'dockerfile_invalid',
    message: /FROM/,
  },
  {
    name: 'no Dockerfile, with the usage after the error',
    lines: [
      'Error: error resolving dockerfile path: please provide a valid path to a Dockerfile within the build context with --dockerfile',
      'Usage:',
      '  executor [flags]',
      'Flags:',
      '      --cache   Use cache when building image',
    ],
    code: 'dockerfile_invalid',
    message: /no such Dockerfile/,
  },
  {
    name: 'an unknown stage',
    lines: ['error building image: error finding target stage: "x" is not a valid target build stage'],
    code: 'dockerfile_invalid',
    message: /"x" is not a valid/,
  },
  {
    name: 'a base image that is missing',
    lines: [
      'INFO[0000] Retrieving image manifest registry.example/base:9',
      'error building image: GET https://registry.example/v2/base/manifests/9: MANIFEST_UNKNOWN: manifest unknown; map[Tag:9]',
    ],
    code: 'base_image_not_found',
    message: /^the base image registry\.example\/base:9 does not exist/,
  },
  {
    name: 'a base image that is missing, after retries',
    lines: [
      'error building image: unable to complete operation after 1 attempts, last error: GET https://index.docker.io/v2/library/nothing/manifests/1: MANIFEST_UNKNOWN: manifest unknown; map[Tag:1]',
    ],
    code: 'base_image_not_found',
    message: /^the base image nothing:1 does not exist/,
  },
  {
    name: 'a base image that Docker Hub does not tell of',
    lines: [
      'error building image: GET https://index.docker.io/v2/library/secret/manifests/latest: UNAUTHORIZED: authentication required; [map[Action:pull Class: Name:library/secret Type:repository]]',
    ],
    code: 'base_image_not_found',
    message: /secret:latest does not exist, or cannot be pulled/,
  },
  {
    name: 'a base image that no mirror has, where Docker Hub is out of reach',
    lines: [
      'INFO[0000] Retrieving image manifest nothing:9',
      'WARN[0000] Failed to retrieve image mirror.example/library/nothing:9 from remapped registry mirror.example: GET https://mirror.example/v2/library/nothing/manifests/9: MANIFEST_UNKNOWN: manifest unknown. Will try with the next registry, or fallback to the original registry.',
      'error building image: Get "https://index.docker.io/v2/": dial tcp: lookup index.docker.io on 10.0.0.10:53: no such host',
    ],
    code: 'base_image_not_found',
    message: /nothing:9 is in none of the registry mirrors/,
  },
  {
    name: 'a base image that is on no mapped registry',
    lines: [
      'error building image: image not found on any configured mapped registries for index.docker.io/library/x:1',
    ],
    code: 'base_image_not_found',
    message: /^the base image x:1 does not exist/,
  },
  {
    name: 'a registry of base images that is away',
    lines: [
      'INFO[0000] Retrieving image manifest base.example/x:1',
      'error building image: Get "https://base.example/v2/": dial tcp 192.0.2.1:443: connect: connection refused',
    ],
    code: 'registry_unavailable',
    message: /^the base image base\.example\/x:1 could not be pulled/,
  },
  {
    name: 'a registry of base images that wants no more',
    lines: [
      'INFO[0000] Retrieving image manifest node:24',
      'error building image: GET https://index.docker.io/v2/library/node/manifests/24: TOOMANYREQUESTS: You have reached your pull rate limit',
    ],
    code: 'registry_unavailable',
    message: /rate limit/,
  },
  {
    name: 'a push that is refused: no credentials',
    lines: [
      `${push}checking push permission for "r.example/a:1": POST https://r.example/v2/a/blobs/uploads/: UNAUTHORIZED: authentication required; [map[Action:pull]]`,
    ],
    code: 'push_denied',
    message: /refused the push/,
  },
  {
    name: 'a push that is refused: no right',
    lines: [
      `${push}checking push permission for "r.example/a:1": POST https://r.example/v2/a/blobs/uploads/: DENIED: requested access to the resource is denied`,
    ],
    code: 'push_denied',
    message: /DENIED/,
  },
  {
    name: 'a push that is refused: a status alone',
    lines: [
      `${push}checking push permission for "r.example/a:1": POST https://r.example/v2/a/blobs/uploads/: unexpected status code 403 Forbidden`,
    ],
    code: 'push_denied',
    message: /403/,
  },
  {
    name: 'a push that is refused by the token service',
    lines: [
      `${push}checking push permission for "r.example/a:1": creating push check transport for r.example failed: GET https://auth.example/token?scope=x: UNAUTHORIZED: incorrect username or password`,
    ],
    code: 'push_denied',
    message: /incorrect username/,
  },
  {
    name: 'a repository that does not exist',
    lines: [
      `${push}checking push permission for "r.example/a:1": POST https://r.example/v2/a/blobs/uploads/: NAME_UNKNOWN: The repository does not exist`,
    ],
    code: 'push_denied',
    message: /no such repository/,
  },
  {
    name: 'a registry that is away before the push',
    lines: [
      `${push}checking push permission for "r.example/a:1": creating push check transport for r.example failed: Get "https://r.example/v2/": dial tcp 192.0.2.1:443: connect: connection refused`,
    ],
    code: 'registry_unavailable',
    message: /connection refused/,
  },
  {
    name: 'a registry that is not trusted',
    lines: [
      `${push}checking push permission for "r.example/a:1": creating push check transport for r.example failed: Get "https://r.example/v2/": tls: failed to verify certificate: x509: certificate signed by unknown authority`,
    ],
    code: 'registry_unavailable',
    message: /ca_file/,
  },
  {
    name: 'a bad name',
    lines: [`${push}getting tag for destination: repository can only contain the characters`],
    code: 'build_failed',
    message: /name of the image/,
  },
  {
    name: 'a registry that goes away during the push',
    lines: [
      `INFO[0009] Pushing image to r.example/a:1`,
      'WARN[0010] Retrying operation after 1s due to Patch "https://r.example/v2/": EOF',
      'error pushing image: failed to push to destination r.example/a:1: unable to complete operation after 4 attempts, last error: Get "https://r.example/v2/": dial tcp 192.0.2.1:443: connect: connection refused',
    ],
    code: 'registry_unavailable',
    message: /could not be pushed/,
  },
  {
    name: 'a push that is refused at its end',
    lines: [
      'error pushing image: failed to push to destination r.example/a:1: PUT https://r.example/v2/a/manifests/1: DENIED: quota',
    ],
    code: 'push_denied',
    message: /DENIED/,
  },
  {
    name: 'a full disk',
    lines: [
      'INFO[0003] RUN make',
      'error building image: error building stage: failed to take snapshot: write /kaniko/1.tar: no space left on device',
    ],
    code: 'builder_unavailable',
    message: /no disk space/,
  },
  {
    name: 'an executor that does not know a flag',
    lines: ['Error: unknown flag: --digest-file', 'Usage:', '  executor [flags]'],
    code: 'builder_unavailable',
    message: /kaniko_image/,
  },
  {
    name: 'an executor that breaks down',
    lines: ['panic: runtime error: index out of range', 'goroutine 1 [running]:'],
    exitCode: 2,
    code: 'builder_unavailable',
    message: /the executor crashed/,
  },
  {
    name: 'an executor that was killed without a word',
    lines: ['INFO[0003] RUN make'],
    exitCode: 137,
    code: 'builder_unavailable',
    message: /signal 9 at `RUN make`/,
  },
  { name: 'a log that was lost', lines: [], exitCode: 3, code: 'build_failed', message: /exit code 3/ },
  {
    name: 'something new',
    lines: ['INFO[0003] ENV A=b', 'error building image: the moon is full'],
    code: 'build_failed',
    message: /failed at `ENV A=b`: the moon is full/,
  },
  {
    name: 'an image by digest',
    lines: [
      `error building image: GET https://r.example/v2/a/b/manifests/${digest}: MANIFEST_UNKNOWN: manifest unknown`,
    ],
    code: 'base_image_not_found',
    message: /r\.example\/a\/b@sha256:a{64}/,
  },
];

describe('the log of an executor', () => {
  for (const { name, lines, exitCode = 1, code, message, step } of cases) {
    it(`tells of ${name}`, () => {
      const verdict = classifyLog(lines, exitCode);
      assert.equal(verdict.code, code, verdict.message);
      assert.match(verdict.message, message);
      assert.ok(verdict.message.length < 800);
      if (step !== undefined) assert.equal(verdict.step, step);
    });
  }
});
