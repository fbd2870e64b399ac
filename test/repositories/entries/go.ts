/** Repositories of Go. */
import { type Entry, root } from '../entry.ts';

const main = (text: string, imports = ''): string =>
  `package main\n\nimport (\n\t"fmt"\n\t"net/http"\n\t"os"\n${imports})\n\nfunc main() {\n\thttp.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, ${text}) })\n\tpanic(http.ListenAndServe(os.Getenv("HOLDFAST_HOST")+":"+os.Getenv("PORT"), nil))\n}\n`;

export const goEntries: readonly Entry[] = [
  {
    name: 'Go in one file',
    files: { 'go.mod': 'module example.com/one\n\ngo 1.22\n', 'main.go': main('"hello from Go"') },
    answers: root('hello from Go'),
  },
];
