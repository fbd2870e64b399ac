/** Debian's packages that Python packages need beside pip: to be compiled, and to be loaded. */

export interface SystemPackages {
  readonly build: readonly string[];
  readonly run: readonly string[];
}

interface Row {
  /** Names of Python packages; `name[extra]` for one with that extra only. */
  readonly names: readonly string[];
  /** Packages that bring it themselves. */
  readonly unless?: readonly string[];
  readonly build?: readonly string[];
  readonly run?: readonly string[];
}

const compiler = ['gcc', 'libc6-dev'];

/** Names of libraries that are the same in Debian 12 and 13, either as a package or as what one provides. */
const rows: readonly Row[] = [
  { names: ['psycopg2'], build: [...compiler, 'libpq-dev'], run: ['libpq5'] },
  { names: ['psycopg[c]', 'psycopg-c'], build: [...compiler, 'libpq-dev'], run: ['libpq5'] },
  { names: ['psycopg'], unless: ['psycopg[binary]', 'psycopg-binary'], run: ['libpq5'] },
  { names: ['mysqlclient'], build: [...compiler, 'default-libmysqlclient-dev', 'pkg-config'], run: ['libmariadb3'] },
  { names: ['uwsgi'], build: compiler },
  {
    names: ['pycairo', 'xhtml2pdf', 'rlpycairo'],
    build: [...compiler, 'libcairo2-dev', 'pkg-config'],
    run: ['libcairo2'],
  },
  { names: ['cairosvg', 'cairocffi'], run: ['libcairo2'] },
  {
    names: ['python-ldap', 'django-auth-ldap'],
    build: [...compiler, 'libldap2-dev', 'libsasl2-dev'],
    run: ['libldap2-dev', 'libsasl2-2'],
  },
  { names: ['pylibmc'], build: [...compiler, 'libmemcached-dev', 'zlib1g-dev'], run: ['libmemcached11'] },
  { names: ['pycurl'], build: [...compiler, 'libcurl4-openssl-dev', 'libssl-dev'], run: ['libcurl4'] },
  {
    names: ['xmlsec', 'python3-saml'],
    build: [...compiler, 'libxmlsec1-dev', 'libxml2-dev', 'pkg-config'],
    run: ['libxmlsec1-openssl'],
  },
  { names: ['pygraphviz'], build: [...compiler, 'libgraphviz-dev', 'pkg-config'], run: ['graphviz'] },
  { names: ['graphviz', 'pydot'], run: ['graphviz'] },
  { names: ['dlib', 'face-recognition'], build: ['g++', 'make', 'cmake'] },
  { names: ['gdal'], build: ['g++', 'libgdal-dev'], run: ['libgdal-dev'] },
  { names: ['pyaudio'], build: [...compiler, 'portaudio19-dev'], run: ['libportaudio2'] },
  { names: ['python-magic'], run: ['libmagic1'] },
  { names: ['weasyprint'], run: ['libpango-1.0-0', 'libpangoft2-1.0-0', 'libharfbuzz-subset0'] },
  { names: ['opencv-python', 'opencv-contrib-python'], run: ['libgl1', 'libglib2.0-0'] },
  { names: ['pdf2image'], run: ['poppler-utils'] },
  { names: ['pytesseract', 'tesserocr'], run: ['tesseract-ocr'] },
  { names: ['pydub', 'ffmpeg-python', 'openai-whisper'], run: ['ffmpeg'] },
  { names: ['pyzbar'], run: ['libzbar0'] },
  { names: ['gitpython'], run: ['git'] },
  { names: ['python-snappy'], build: ['g++', 'libsnappy-dev'], run: ['libsnappy1v5'] },
  { names: ['pyodbc'], run: ['unixodbc'] },
  { names: ['pymssql'], run: ['libsybdb5'] },
  {
    names: ['netifaces', 'pycrypto', 'ujson-c', 'bjoern', 'line-profiler', 'thriftpy', 'python-levenshtein-c'],
    build: compiler,
  },
];

/**
 * @param required the names of what is installed, each also with its extras: `psycopg`, `psycopg[c]`.
 * @param texts the texts of manifests, which name git if they do.
 */
export function systemPackages(required: ReadonlySet<string>, texts: readonly string[]): SystemPackages {
  const fitting = rows.filter(
    ({ names, unless = [] }) => names.some((name) => required.has(name)) && !unless.some((name) => required.has(name)),
  );
  const isGit = texts.some((text) => /\bgit\+|\bgit\s*=\s*["{]|\bgit\s*=\s*'|type = "git"/.test(text));
  const unique = (lists: readonly (readonly string[])[]): string[] => [...new Set(lists.flat())];
  return {
    build: unique([...(isGit ? [['git']] : []), ...fitting.map(({ build = [] }) => build)]),
    run: unique(fitting.map(({ run = [] }) => run)),
  };
}
