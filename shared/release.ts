/** The version of Holdfast that is running. */
import packageJson from '../package.json' with { type: 'json' };

export const release: string = packageJson.version;
