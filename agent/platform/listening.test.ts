import assert from 'node:assert/strict';
import { test } from 'node:test';
import { listenerInLine, mayServe, wordsOfListener } from './listening.ts';

test('what programs say about where they listen is read from their lines', () => {
  const cases: Record<string, string | undefined> = {
    'listening on 127.0.0.1:3000': '127.0.0.1 3000',
    'Server running at http://localhost:3000/': 'localhost 3000',
    ' * Running on http://127.0.0.1:5000 (Press CTRL+C to quit)': '127.0.0.1 5000',
    '[2026-01-01 10:00:00 +0000] [7] [INFO] Listening at: http://127.0.0.1:8000 (7)': '127.0.0.1 8000',
    'INFO:     Uvicorn running on http://0.0.0.0:8000 (Press CTRL+C to quit)': '0.0.0.0 8000',
    '\u001B[32m  ➜\u001B[39m  Local:   http://localhost:5173/': 'localhost 5173',
    'Listening on port 4000': '0.0.0.0 4000',
    'Server started on port: 4000': '0.0.0.0 4000',
    'Listening on http://[::1]:8080': '::1 8080',
    '* Listening on tcp://localhost:9292': 'localhost 9292',
    'listening on :8080': '0.0.0.0 8080',
    'connected to redis, listening at 127.0.0.1:6379': undefined,
    'Debugger listening on ws://127.0.0.1:9229/3f2': undefined,
    'GET / 200 12:30:05': undefined,
    'started at 2026-01-01T10:00:00Z': undefined,
    listening: undefined,
  };
  for (const [line, expected] of Object.entries(cases)) {
    const found = listenerInLine(line);
    assert.equal(found && `${found.host} ${found.port}`, expected, line);
  }
});

test('a very long line is read in a moment', () => {
  const beganMs = performance.now();
  listenerInLine(`listening ${'on http://'.repeat(100_000)}`);
  assert.ok(performance.now() - beganMs < 200);
});

test('ports of debuggers and metrics are no sign that an app has chosen another port', () => {
  assert.deepEqual(
    [9_229, 9_090, 9_100, 3_000, 8_000].map((port) => mayServe({ host: '::', port })),
    [false, false, false, true, true],
  );
});

test('a listener is told with what to do', () => {
  assert.equal(
    wordsOfListener({ host: '0.0.0.0', port: 3000 }, 8080),
    'the app listens on 0.0.0.0:3000, not on PORT 8080: listen on 0.0.0.0 and the port in PORT, or set `port = 3000`',
  );
  assert.match(
    wordsOfListener({ host: '::1', port: 8080 }, 8080),
    /listens on \[::1\]:8080, which nothing outside of it can reach: listen on 0\.0\.0\.0 and the port in PORT$/,
  );
});
