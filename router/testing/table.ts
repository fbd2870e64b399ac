/** A route table by itself, for tests and benchmarks: with targets that nobody calls. */
import { systemClock } from '../../shared/wait/clock.ts';
import { Backlogs } from '../io/backlog.ts';
import { Deadlines } from '../io/deadlines.ts';
import { ReadAhead } from '../io/read-ahead.ts';
import { ReadBuffers } from '../io/read-buffers.ts';
import { SocketIo } from '../io/socket-io.ts';
import { HeadWriter } from '../message/head-writer.ts';
import { ResponseParser } from '../message/response-parser.ts';
import { UpstreamTargets } from '../upstream/targets.ts';
import { Apps, type App } from '../table/apps.ts';
import { Table } from '../table/table.ts';

export interface BareTable {
  readonly table: Table;
  readonly apps: Apps;
  readonly targets: UpstreamTargets;
}

/** @param routeChanged hears of each app whose route is another one. */
export function bareTable(routeChanged: (app: App, moved: boolean) => void = () => undefined): BareTable {
  const clock = systemClock;
  const deadlines = new Deadlines(clock);
  const targets = new UpstreamTargets({
    clock,
    deadlines,
    connectTimeoutMs: 1_000,
    maxIdle: 1,
    backlogs: new Backlogs({ maxBytes: 1_048_576, partBytes: 65_536, clock, deadlines, onCut: () => undefined }),
    streamBytes: 65_536,
    buffers: new ReadBuffers(),
    sockets: new SocketIo(),
    settingsTimeoutMs: 1_000,
    maxHeaderBytes: 16_384,
    maxFields: 256,
    maxTrailerBytes: 4_096,
    readAhead: new ReadAhead(1_048_576),
    writer: new HeadWriter(new SocketIo()),
    responseParser: new ResponseParser({ maxFields: 256 }),
  });
  const apps = new Apps(targets, 1_000);
  return { table: new Table({ apps, clock, events: { routeChanged } }), apps, targets };
}
