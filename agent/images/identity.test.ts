import assert from 'node:assert/strict';
import { test } from 'node:test';
import { imageTag, tagPattern, type ImageInput } from './identity.ts';

const input: ImageInput = {
  treeDigest: `sha256:${'a'.repeat(64)}`,
  dockerfile: 'Dockerfile',
  extraFiles: {},
  args: { A: '1', B: '2' },
  secretArgs: { TOKEN: 'hush' },
  target: undefined,
  builder: 'kaniko',
};

test('equal inputs have one tag, whatever the order of arguments', async () => {
  const tag = await imageTag(input);
  assert.match(tag, tagPattern);
  assert.equal(await imageTag({ ...input, args: { B: '2', A: '1' } }), tag);
});

test('the tag is the same in every release of this scheme', async () => {
  assert.equal(await imageTag(input), '15fc44a9c46536ad9585f0e35331b840011c744e');
});

test('every input makes another tag', async () => {
  const others: Partial<ImageInput>[] = [
    {},
    { treeDigest: `sha256:${'b'.repeat(64)}` },
    { dockerfile: 'other/Dockerfile' },
    { extraFiles: { Dockerfile: 'FROM scratch' } },
    { extraFiles: { Dockerfile: 'FROM scratch ' } },
    { args: { A: '1' } },
    { args: { A: '1', B: '3' } },
    { args: { A: '1', B: '2', C: '' } },
    { secretArgs: { TOKEN: 'other' } },
    { secretArgs: { OTHER: 'hush' } },
    { secretArgs: {}, args: { A: '1', B: '2', TOKEN: 'hush' } },
    { target: 'final' },
    { builder: 'delegate' },
  ];
  const tags = await Promise.all(others.map((other) => imageTag({ ...input, ...other })));
  assert.equal(new Set(tags).size, others.length);
});
