// Places of a tree that is drawn from left to right: each leaf has a row of its own, so that its text never
// meets another one, and a parent stands in the middle of its children.

/** The branches (in order, with depths) with `x` and `y` in steps, and the number of the `parent`. */
export function placed(branches) {
  const nodes = branches.map((branch) => ({ branch, x: branch.depth, y: 0, parent: null, children: [] }));
  const path = [];
  for (const node of nodes) {
    path.length = node.x;
    node.parent = path[node.x - 1] ?? null;
    node.parent?.children.push(node);
    path[node.x] = node;
  }
  let row = 0;
  const place = (node) => {
    if (!node.children.length) node.y = row++;
    else {
      node.children.forEach(place);
      node.y = (node.children[0].y + node.children.at(-1).y) / 2;
    }
  };
  nodes.filter((node) => !node.parent).forEach(place);
  return { nodes, rows: row, columns: Math.max(0, ...nodes.map((node) => node.x)) + 1 };
}
