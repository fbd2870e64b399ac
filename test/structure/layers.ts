/** The layers of the house. A file may import its own layer and the layers that its row names; everything may import `shared`. */

export interface Layer {
  /** A folder with everything in it, or `folder/*.ts` for the files directly in it, or one file. */
  readonly path: string;
  /** Layers that stand before this one in the table, so that no circle of layers can be written down. */
  readonly mayImport: readonly string[];
}

const sharedGround = ['shared/*.ts', 'shared/wait', 'shared/net'];
const routerCall = ['router/io', 'router/message', 'router/call'];
const routerParts = [
  ...routerCall,
  'router/client',
  'router/upstream',
  'router/table',
  'router/hold',
  'router/wake',
  'router/front',
];
const agentGround = ['agent/config', 'agent/kube', 'agent/registry', 'agent/store', 'agent/source'];
const agentParts = [
  ...agentGround,
  'agent/audit',
  'agent/leader',
  'agent/routes',
  'agent/rpc',
  'agent/images',
  'agent/platform/*.ts',
  'agent/versions',
  'agent/handlers',
];

export const layers: readonly Layer[] = [
  { path: 'shared/*.ts', mayImport: [] },
  { path: 'shared/wait', mayImport: ['shared/*.ts'] },
  { path: 'shared/net', mayImport: ['shared/*.ts', 'shared/wait'] },
  { path: 'shared/command', mayImport: sharedGround },
  { path: 'shared/source', mayImport: sharedGround },
  { path: 'shared/protocol', mayImport: sharedGround },
  { path: 'shared/rpc', mayImport: [...sharedGround, 'shared/protocol'] },
  { path: 'shared/config', mayImport: [...sharedGround, 'shared/protocol'] },
  { path: 'shared/presets', mayImport: [...sharedGround, 'shared/protocol', 'shared/source'] },

  { path: 'router/io', mayImport: [] },
  { path: 'router/message', mayImport: ['router/io'] },
  { path: 'router/call', mayImport: ['router/io', 'router/message'] },
  { path: 'router/client', mayImport: routerCall },
  { path: 'router/upstream', mayImport: routerCall },
  { path: 'router/table', mayImport: [...routerCall, 'router/upstream'] },
  { path: 'router/hold', mayImport: [...routerCall, 'router/upstream', 'router/table'] },
  { path: 'router/wake', mayImport: [...routerCall, 'router/upstream', 'router/table', 'router/hold'] },
  { path: 'router/front', mayImport: [...routerCall, 'router/table'] },
  { path: 'router/telemetry', mayImport: [...routerCall, 'router/table'] },
  { path: 'router/*.ts', mayImport: [...routerParts, 'router/telemetry'] },
  { path: 'router/workers', mayImport: [...routerParts, 'router/telemetry', 'router/*.ts'] },
  { path: 'router/main.ts', mayImport: [...routerParts, 'router/telemetry', 'router/*.ts', 'router/workers'] },

  { path: 'agent/config', mayImport: [] },
  { path: 'agent/kube', mayImport: [] },
  { path: 'agent/registry', mayImport: [] },
  { path: 'agent/store', mayImport: [] },
  { path: 'agent/source', mayImport: ['agent/store'] },
  { path: 'agent/audit', mayImport: ['agent/store'] },
  { path: 'agent/leader', mayImport: ['agent/kube'] },
  { path: 'agent/routes', mayImport: [] },
  { path: 'agent/rpc', mayImport: [] },
  { path: 'agent/images', mayImport: [...agentGround, 'agent/rpc'] },
  { path: 'agent/platform/*.ts', mayImport: agentGround },
  {
    path: 'agent/platform/kubernetes',
    mayImport: [...agentGround, 'agent/images', 'agent/platform/*.ts'],
  },
  { path: 'agent/platform/process', mayImport: [...agentGround, 'agent/platform/*.ts'] },
  {
    path: 'agent/versions',
    mayImport: ['agent/store', 'agent/source', 'agent/images', 'agent/routes', 'agent/platform/*.ts'],
  },
  {
    path: 'agent/handlers',
    mayImport: [...agentGround, 'agent/images', 'agent/routes', 'agent/rpc', 'agent/platform/*.ts', 'agent/versions'],
  },
  { path: 'agent/*.ts', mayImport: agentParts },
  {
    path: 'agent/compose',
    mayImport: [...agentParts, 'agent/platform/kubernetes', 'agent/platform/process', 'agent/*.ts'],
  },
  { path: 'agent/main.ts', mayImport: [...agentParts, 'agent/*.ts', 'agent/compose'] },

  { path: 'builder', mayImport: [] },

  { path: 'cli/*.ts', mayImport: [] },
  { path: 'cli/embedded', mayImport: ['cli/*.ts'] },
  { path: 'cli/commands', mayImport: ['cli/*.ts', 'cli/embedded'] },
  { path: 'cli/run.ts', mayImport: ['cli/*.ts', 'cli/commands'] },
  { path: 'cli/main.ts', mayImport: ['cli/*.ts', 'cli/run.ts'] },
];

/** Files and folders that may read `process.env`: the programs' entries, and what they compose. */
export const readsEnvironment: readonly string[] = [
  'router/main.ts',
  'agent/main.ts',
  'agent/compose',
  'builder/main.ts',
  'cli/main.ts',
  // Programs of their own, which run in a build pod and in an app's process.
  'agent/images/fetch-context.ts',
  'agent/platform/process/static-server.ts',
];

/** The folder that may call `addEventListener('abort'` and take `node:timers/promises`: everything else waits by its means. */
export const waitsByHand = 'shared/wait';
