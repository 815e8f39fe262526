// A reporter of node:test: which features the tests showed, a line of JSON for each, for docs/clients.md.
//
// A test says what it shows in brackets behind its title: `test('pages go backwards [history]', …)`. Its encoding is
// that of the suite around it.

const ENCODINGS = ['json', 'protobuf'];

export default async function* features(events) {
  // Titles of the suites around the test that runs.
  const titles = [];
  for await (const { type, data } of events) {
    if (type === 'test:start') titles[data.nesting] = data.name;
    if (type !== 'test:pass' && type !== 'test:fail') continue;
    const encoding = titles.slice(0, data.nesting).find((title) => ENCODINGS.includes(title));
    if (!encoding || data.skip) continue;
    const passed = type === 'test:pass';
    for (const [, feature] of data.name.matchAll(/\[([^\]]+)\]/g)) {
      yield `${JSON.stringify({ sdk: 'centrifuge-js', encoding, feature, passed })}\n`;
    }
  }
}
