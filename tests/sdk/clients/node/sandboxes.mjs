// The `e2b` package: commands, terminals, files, lives.
import assert from 'node:assert/strict'
import { request } from 'node:http'
import {
  AuthenticationError,
  CommandExitError,
  FileNotFoundError,
  FileType,
  FilesystemEventType,
  InvalidArgumentError,
  NotFoundError,
  Sandbox,
  SandboxError,
  TimeoutError,
} from 'e2b'
import { main, rejects, sleep, until } from './common.mjs'

let sandbox
const made = []
const create = async (opts = {}) => {
  const { template = 'base', ...rest } = opts
  const new_ = await Sandbox.create(template, { timeoutMs: 300_000, ...rest })
  made.push(new_)
  return new_
}
const run = `run-${process.pid}-${performance.now()}`

async function quickstart() {
  sandbox = await Sandbox.create({ envs: { GIVEN: 'to all' } })
  made.push(sandbox)
  const result = await sandbox.commands.run('echo "Hello World"')
  assert.equal(result.stdout, 'Hello World\n')
  assert.equal(await sandbox.isRunning(), true)
}

async function streams_and_exit_codes() {
  const result = await sandbox.commands.run('echo out; echo err >&2')
  assert.deepEqual([result.stdout, result.stderr, result.exitCode], ['out\n', 'err\n', 0])
  const error = await rejects(CommandExitError, sandbox.commands.run('echo told; exit 7'))
  assert.deepEqual([error.exitCode, error.stdout, error.error], [7, 'told\n', 'exit status 7'])
  assert.equal((await sandbox.commands.run('echo $GIVEN $OWN; pwd', { envs: { OWN: 'x' }, cwd: '/tmp' })).stdout, 'to all x\n/tmp\n')
  await rejects(InvalidArgumentError, sandbox.commands.run('true', { cwd: '/none/such' }))
}

async function callbacks_come_while_it_runs() {
  const seen = []
  await sandbox.commands.run('for n in 1 2 3; do echo $n; sleep 0.2; done', {
    onStdout: (text) => seen.push([performance.now(), text]),
  })
  assert.equal(seen.map(([, text]) => text).join(''), '1\n2\n3\n')
  assert.ok(seen.at(-1)[0] - seen[0][0] > 300, 'all came at once')
}

async function users_are_one_identity() {
  const who = new Set()
  for (const user of [undefined, 'user', 'root']) who.add((await sandbox.commands.run('id -u', { user })).stdout)
  assert.equal(who.size, 1)
  await rejects(AuthenticationError, sandbox.commands.run('true', { user: 'daemon' }))
}

async function its_time_ends_a_command() {
  await rejects(TimeoutError, sandbox.commands.run('sleep 31', { timeoutMs: 1000 }))
  await until(async () => !(await sandbox.commands.list()).some((p) => p.args.join(' ').includes('sleep 31')))
}

async function background_list_connect_kill() {
  const handle = await sandbox.commands.run('while :; do echo tick; sleep 0.1; done', { background: true })
  assert.ok((await sandbox.commands.list()).some((p) => p.pid === handle.pid && p.cmd === '/bin/bash'))
  await handle.disconnect()
  let seen = ''
  const again = await sandbox.commands.connect(handle.pid, { onStdout: (text) => void (seen += text) })
  await until(() => seen.includes('tick'))
  const ended = rejects(CommandExitError, again.wait())
  assert.equal(await sandbox.commands.kill(handle.pid), true)
  await ended
  assert.equal(await sandbox.commands.kill(handle.pid), false)
  await rejects(NotFoundError, sandbox.commands.connect(999_999))
}

async function standard_input() {
  const handle = await sandbox.commands.run('cat; echo end', { stdin: true, background: true })
  await sandbox.commands.sendStdin(handle.pid, 'one\n')
  await handle.sendStdin('two\n')
  await sandbox.commands.closeStdin(handle.pid)
  assert.equal((await handle.wait()).stdout, 'one\ntwo\nend\n')
}

async function output_is_whole() {
  const result = await sandbox.commands.run("head -c 3000000 /dev/zero | tr '\\0' x")
  assert.equal(result.stdout.length, 3_000_000)
}

async function many_at_once() {
  const all = await Promise.all(Array.from({ length: 12 }, (_, n) => sandbox.commands.run(`sleep 0.2; echo ${n}`)))
  assert.deepEqual(all.map((r) => r.stdout), Array.from({ length: 12 }, (_, n) => `${n}\n`))
}

async function terminal() {
  let said = ''
  const decoder = new TextDecoder()
  const pty = await sandbox.pty.create({
    rows: 24,
    cols: 80,
    cwd: '/tmp',
    envs: { GIVEN: 'inside' },
    onData: (data) => void (said += decoder.decode(data, { stream: true })),
  })
  const ended = pty.wait().catch((error) => error)
  const type = (text) => sandbox.pty.sendInput(pty.pid, new TextEncoder().encode(text))
  await type('echo $GIVEN-$((40+2)); stty size; pwd\n')
  await until(() => said.includes('inside-42') && said.includes('24 80') && said.includes('/tmp\r\n'))
  await sandbox.pty.resize(pty.pid, { rows: 40, cols: 120 })
  await type('stty size\n')
  await until(() => said.includes('40 120'))
  assert.equal(await sandbox.pty.kill(pty.pid), true)
  await ended
  assert.equal(await sandbox.pty.kill(pty.pid), false)
}

async function read_and_write() {
  const text = 'käse\nकिला\n'
  const info = await sandbox.files.write('read.txt', text)
  assert.equal(info.name, 'read.txt')
  assert.equal(await sandbox.files.read('read.txt'), text)
  assert.deepEqual(Buffer.from(await sandbox.files.read(info.path, { format: 'bytes' })), Buffer.from(text))
  assert.equal(await (await sandbox.files.read('read.txt', { format: 'blob' })).text(), text)
  let streamed = ''
  const decoder = new TextDecoder()
  for await (const piece of await sandbox.files.read('read.txt', { format: 'stream' })) streamed += decoder.decode(piece, { stream: true })
  assert.equal(streamed, text)
  const bytes = Buffer.alloc(24 << 20, 'qila ')
  await sandbox.files.write('large.bin', bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length))
  assert.ok(Buffer.from(await sandbox.files.read('large.bin', { format: 'bytes' })).equals(bytes))
  await sandbox.files.write('streamed.txt', new Blob(['of', ' pieces']).stream())
  assert.equal(await sandbox.files.read('streamed.txt'), 'of pieces')
  await sandbox.files.write('empty.txt', '')
  assert.equal(await sandbox.files.read('empty.txt'), '')
  const many = Array.from({ length: 20 }, (_, n) => ({ path: `many/d${n % 3}/${n}.txt`, data: `file ${n}` }))
  assert.equal((await sandbox.files.write(many)).length, 20)
  for (const { path, data } of many) assert.equal(await sandbox.files.read(path), data)
  await rejects(FileNotFoundError, sandbox.files.read('none'))
}

async function directories() {
  const { files } = sandbox
  assert.equal(await files.makeDir('tree/a/b'), true)
  assert.equal(await files.makeDir('tree/a/b'), false)
  await files.write('tree/top.txt', '12345')
  const names = async (depth) => (await files.list('tree', { depth })).map((e) => e.name).sort()
  assert.deepEqual(await names(1), ['a', 'top.txt'])
  assert.deepEqual(await names(3), ['a', 'b', 'top.txt'])
  const info = await files.getInfo('tree/top.txt')
  assert.deepEqual([info.type, info.size, info.permissions], [FileType.FILE, 5, '-rw-r--r--'])
  assert.equal((await files.rename('tree/top.txt', 'tree/new/two.txt')).name, 'two.txt')
  assert.equal(await files.exists('tree/top.txt'), false)
  assert.equal(await files.exists('tree/new/two.txt'), true)
  await files.remove('tree')
  assert.equal(await files.exists('tree'), false)
  await rejects(NotFoundError, files.list('tree'))
}

async function watched() {
  await sandbox.files.makeDir('watched/sub')
  const seen = []
  const handle = await sandbox.files.watchDir('watched', (e) => void seen.push(e), { recursive: true })
  await sandbox.files.write('watched/sub/f.txt', '1')
  await until(() => seen.some((e) => e.name === 'sub/f.txt' && e.type === FilesystemEventType.CREATE))
  await sandbox.files.remove('watched/sub/f.txt')
  await until(() => seen.some((e) => e.name === 'sub/f.txt' && e.type === FilesystemEventType.REMOVE))
  await handle.stop()
  await rejects(NotFoundError, sandbox.files.watchDir('none', () => {}))
}

// `E2B_SANDBOX_URL` has no place for the sandbox in it: its name goes into the host instead.
const fetchSigned = (url, of = sandbox) =>
  new Promise((done, fail) => {
    const asked = request(url, { headers: { host: of.getHost(49983) } }, (answer) => {
      let body = ''
      answer.on('data', (piece) => (body += piece)).on('end', () => done([answer.statusCode, body]))
    })
    asked.on('error', fail).end()
  })

async function signed_urls() {
  await sandbox.files.write('signed.txt', 'secret')
  assert.deepEqual(await fetchSigned(await sandbox.downloadUrl('signed.txt')), [200, 'secret'])
  const timed = await sandbox.downloadUrl('signed.txt', { useSignatureExpiration: 60 })
  assert.deepEqual(await fetchSigned(timed), [200, 'secret'])
  assert.equal((await fetchSigned(timed.replace('signed.txt', 'read.txt')))[0], 401)
}

async function pause_and_connect() {
  const box = await create()
  await box.files.write('kept.txt', 'kept')
  assert.equal(await box.pause(), true)
  assert.equal(await box.isRunning(), false)
  await rejects(SandboxError, box.commands.run('true'))
  const again = await Sandbox.connect(box.sandboxId, { timeoutMs: 60_000 })
  assert.equal(await again.files.read('kept.txt'), 'kept')
}

async function lists_and_times() {
  for (let n = 0; n < 3; n++) await create({ metadata: { run, n: `${n}`, odd: n % 2 ? 'a=b & c' : 'no' } })
  const paginator = Sandbox.list({ query: { metadata: { run } }, limit: 2 })
  const first = await paginator.nextItems()
  assert.deepEqual([first.length, paginator.hasNext], [2, true])
  assert.equal((await paginator.nextItems()).length, 1)
  const odd = await Sandbox.list({ query: { metadata: { run, odd: 'a=b & c' } } }).nextItems()
  assert.deepEqual(odd.map((s) => s.metadata.n), ['1'])
  const box = await create()
  await box.setTimeout(600_000)
  const left = (await box.getInfo()).endAt.getTime() - Date.now()
  assert.ok(left > 580_000 && left < 602_000, `${left}`)
  await box.setTimeout(1000)
  await until(async () => !(await box.isRunning()))
  await rejects(SandboxError, box.getInfo())
}

async function snapshots() {
  const box = await create()
  await box.files.write('s.txt', 'then')
  const { snapshotId } = await box.createSnapshot()
  await box.files.write('s.txt', 'now')
  const fresh = await create({ template: snapshotId })
  assert.equal(await fresh.files.read('s.txt'), 'then')
  assert.ok((await Sandbox.listSnapshots({ sandboxId: box.sandboxId }).nextItems()).some((s) => s.snapshotId === snapshotId))
  await fresh.kill()
  assert.equal(await Sandbox.deleteSnapshot(snapshotId), true)
  assert.equal(await Sandbox.deleteSnapshot(snapshotId), false)
}

async function forks() {
  const box = await create()
  await box.files.write('f.txt', 'shared')
  const forks = await box.fork({ count: 2 })
  assert.equal(forks.length, 2)
  for (const fork of forks) {
    assert.ok(fork instanceof Sandbox, `${fork}`)
    made.push(fork)
    assert.equal(await fork.files.read('f.txt'), 'shared')
    await fork.files.write('f.txt', 'own')
  }
  assert.equal(await box.files.read('f.txt'), 'shared')
}

async function refusals() {
  await rejects(AuthenticationError, Sandbox.create({ apiKey: `qila_${'0'.repeat(64)}` }))
  await rejects(SandboxError, Sandbox.create('there-is-none'))
  await rejects(SandboxError, create({ network: { maskRequestHost: 'localhost:${PORT}' } }))
  await rejects(SandboxError, sandbox.updateNetwork({ denyOut: ['1.1.1.1'] }))
}

async function a_command_learns_of_the_end() {
  const box = await create()
  sleep(1000).then(() => box.kill())
  await rejects(Error, box.commands.run('sleep 60'))
}

async function the_end() {
  assert.equal(await sandbox.kill(), true)
  assert.equal(await sandbox.kill(), false)
  await Promise.all(made.map((box) => box.kill()))
}

await main('node/sandboxes', [
  quickstart,
  streams_and_exit_codes,
  callbacks_come_while_it_runs,
  users_are_one_identity,
  its_time_ends_a_command,
  background_list_connect_kill,
  standard_input,
  output_is_whole,
  many_at_once,
  terminal,
  read_and_write,
  directories,
  watched,
  signed_urls,
  pause_and_connect,
  lists_and_times,
  snapshots,
  forks,
  refusals,
  a_command_learns_of_the_end,
  the_end,
])
